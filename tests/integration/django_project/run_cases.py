"""Set Django up, and run all cases of `cases.py`, or those named, on one database.

It prints one JSON object: for each case its traceback, or "" if it passed.
"""

import json
import sys
from importlib import import_module

import django
from django.core.management import call_command
from django.db import connections

django.setup()
for alias in ("default", "other"):
    call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
cases = import_module("tests.integration.django_project.cases")
found = {name: cases.run(cases.CASES[name]) for name in sys.argv[1:] or cases.CASES}
connections.close_all()
sys.stdout.write(json.dumps(found))
