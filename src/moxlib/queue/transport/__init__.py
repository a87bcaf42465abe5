"""How messages leave: the `Transport` protocol, and the transports that ship with moxlib."""
