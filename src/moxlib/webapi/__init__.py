"""The webapi: send and manage mail with HTTP and JSON."""
