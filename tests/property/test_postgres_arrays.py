"""What is inserted in bulk is what was given, to the last quote, backslash and byte."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.postgres import PostgresServer

from moxlib.queue.storage.postgres.arrays import bulk_insert, bulk_params
from moxlib.queue.storage.postgres.tx import Dialect

COLUMNS = ("number", "text", "body", "small", "other")
TYPES = {("bulk", "number"): "int8", ("bulk", "text"): "text", ("bulk", "small"): "int4"} | dict.fromkeys(
    (("bulk", "body"), ("bulk", "other")), "bytea"
)
DIALECT = Dialect("public")

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
awkward = st.sampled_from(["", "NULL", "null", '"', "\\", '\\"', "{", "}", ",", " ", "\n", "a,b", "{}", "'", "%s", "?"])


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


rows_of_all_kinds = st.lists(
    st.tuples(
        maybe(st.integers(-(2**63), 2**63 - 1)),
        maybe(texts | awkward),
        maybe(st.binary(max_size=20)),
        maybe(st.integers(-(2**31), 2**31 - 1)),
        maybe(st.binary(max_size=3)),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def connection(postgres_server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    postgres_server.start()
    with psycopg.connect(postgres_server.url) as opened:
        opened.execute(
            "CREATE TEMP TABLE bulk (place serial, number int8, text text, body bytea, small int4, other bytea)"
        )
        opened.commit()
        yield opened


@given(rows=rows_of_all_kinds)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_rows_come_back_as_they_were(connection: psycopg.Connection[Any], rows: Sequence[tuple[Any, ...]]) -> None:
    sql = DIALECT(bulk_insert("bulk", COLUMNS, TYPES))
    connection.execute(sql, bulk_params("bulk", COLUMNS, TYPES, rows))
    found = connection.execute("SELECT number, text, body, small, other FROM bulk ORDER BY place").fetchall()
    connection.rollback()
    assert found == list(rows)


def test_the_statement_is_the_same_for_any_number_of_rows() -> None:
    assert bulk_insert("bulk", ("number", "body"), TYPES) == (
        "INSERT INTO bulk (number, body) SELECT c0, substring(?::bytea FROM s1 FOR l1)"
        " FROM unnest(?::int8[], ?::int4[], ?::int4[]) AS given (c0, s1, l1)"
    )
    assert bulk_params("bulk", ("number", "body"), TYPES, [(1, b"ab"), (None, None), (3, b"")]) == [
        b"ab",
        "{1,NULL,3}",
        "{1,3,3}",
        "{2,NULL,0}",
    ]
