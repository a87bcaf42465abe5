"""The worker: claims due messages, has transports deliver them, settles what came of it."""

from moxlib.queue.worker.worker import Worker

__all__ = ["Worker"]
