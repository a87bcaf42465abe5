"""A shop: an application with a table of its own."""
