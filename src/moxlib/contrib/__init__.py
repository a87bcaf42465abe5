"""Thin adapters to others' frameworks. Each is imported by its own name, and needs that framework installed.

moxlib.contrib.django            Django's e-mail backend: its mail goes into a queue, in the surrounding transaction
moxlib.contrib.aiosmtpd          handlers for aiosmtpd: bounces and other mail that comes in, and submissions over SMTP
"""
