"""An outgoing mail queue to embed: durable, fast, transactional, and able to explain itself."""
