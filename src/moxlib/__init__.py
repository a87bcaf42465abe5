"""moxlib: the internals of the mail server mox for Python, and a durable outgoing mail queue to embed.

Nothing is loaded before it is used: `import moxlib` alone is as good as free.
"""

__version__ = "0.1.0.dev0"
