"""The settings of a Django project that sends its mail through a queue. What differs comes from the environment."""

import json
import os
from typing import Any

import django

given: dict[str, Any] = json.loads(os.environ["MOXLIB_TEST_SETTINGS"])

SECRET_KEY = "not secret"
USE_TZ = True
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "tests.integration.django_project.urls"
INSTALLED_APPS = ["tests.integration.django_project.shop", "moxlib.contrib.django"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DEFAULT_FROM_EMAIL = "Bluebell Books <shop@example.org>"
MOXLIB = {"account": "shop"}
DATABASES: dict[str, Any] = {}
globals().update(given)

BACKEND = "moxlib.contrib.django.EmailBackend"
if django.VERSION < (6, 1):
    EMAIL_BACKEND = BACKEND
else:
    MAILERS = {"default": {"BACKEND": BACKEND}}
