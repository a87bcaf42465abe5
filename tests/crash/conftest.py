"""A queue for processes to be killed on."""

from collections.abc import Generator
from pathlib import Path

import pytest
from tests.crash.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Generator[Stage]:
    made = Stage(tmp_path)
    try:
        yield made
    finally:
        made.close()
