"""A queue for processes to be killed on: in a file, or in a PostgreSQL database of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.crash.nursery import Nursery
from tests.crash.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from tests.postgres import PostgresServer


@contextmanager
def closing(stage: Stage) -> Iterator[Stage]:
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture(scope="session")
def nursery() -> Generator[Nursery]:
    with Nursery() as made:
        yield made


@pytest.fixture
def stage(tmp_path: Path, nursery: Nursery) -> Generator[Stage]:
    with closing(Stage(tmp_path, nursery=nursery)) as made:
        yield made


@pytest.fixture
def postgres_stage(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path, nursery: Nursery
) -> Generator[Stage]:
    with (
        postgres_server.database() as url,
        closing(Stage(tmp_path, url=url, schema="mail", nursery=nursery)) as made,
    ):
        yield made


@pytest.fixture(params=["stage", "postgres_stage"], ids=["sqlite", "postgres"])
def any_stage(request: pytest.FixtureRequest) -> Stage:
    made: Stage = request.getfixturevalue(request.param)
    return made
