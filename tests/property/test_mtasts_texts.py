"""Any text is a record or a policy, or refused by our error; what is one comes back from its text."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from moxlib.dns import parse_domain
from moxlib.mtasts import (
    InvalidPolicy,
    InvalidRecord,
    Mode,
    MXPattern,
    Policy,
    Record,
    parse_policy,
    parse_record,
)

labels = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(lambda label: "--" not in label)
domains = st.lists(labels, min_size=1, max_size=4).map(".".join).map(parse_domain)
international = st.sampled_from(["münchen.example", "例子.example"]).map(parse_domain)
patterns = st.builds(MXPattern, domain=domains | international, wildcard=st.booleans())
keys = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,31}", fullmatch=True)
unknown = keys.filter(lambda key: key not in {"version", "mode", "max_age", "mx", "id"})
policies = st.builds(
    Policy,
    mode=st.sampled_from(Mode),
    max_age_seconds=st.integers(0, 2**31 - 1),
    mx=st.lists(patterns, min_size=1, max_size=5).map(tuple),
)
values = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)
lines = ["version: STSv1", "mode: enforce", "mode: none", "max_age: 86400", "mx: a.example", "mx: *.b.example", "x: y"]
torn = ["version", "testing", "max_age:", "mx", ":", "\t", " ", "\r\n", "*", ".", "9", "ü", "\x00"]
pieces = st.sampled_from([*lines, *torn]) | st.just("\n")
record_pieces = st.sampled_from(["v=STSv1", "v=", ";", "; ", " ", "\t", "id=", "id=1", "a=b", "=", "1" * 32, "ü", "\n"])


@given(policies, st.lists(st.tuples(unknown, values), max_size=3))
def test_a_policy_comes_back(policy: Policy, extensions: list[tuple[str, str]]) -> None:
    assert parse_policy(str(policy)) == policy
    text = str(policy) + "".join(f"{key}: {value}\n" for key, value in extensions)
    whole = parse_policy(text.encode())
    assert whole == parse_policy(text.replace("\n", " \t\r\n"))
    assert whole == replace(policy, extensions=tuple(extensions))


@given(policies, st.randoms())
def test_the_order_of_other_fields_does_not_matter(policy: Policy, random: object) -> None:
    head, mx = str(policy).splitlines()[:3], str(policy).splitlines()[3:]
    random.shuffle(head)  # type: ignore[attr-defined]
    assert parse_policy("\n".join([*mx, *head])) == policy


@given(st.binary() | st.lists(pieces, max_size=20).map("".join) | st.text())
def test_any_text_is_a_policy_or_refused(text: bytes | str) -> None:
    try:
        policy = parse_policy(text)
    except InvalidPolicy as error:
        assert len(str(error)) < 300  # noqa: PT017 - it may as well succeed
        return
    assert parse_policy(str(policy)) == replace(policy, extensions=())


@given(policies, domains)
def test_a_pattern_matches_its_host_and_no_other(policy: Policy, host: object) -> None:
    for pattern in policy.mx:
        below = parse_domain(f"a.{pattern.domain.ascii}")
        deeper = parse_domain(f"b.a.{pattern.domain.ascii}")
        assert policy.matches(below if pattern.wildcard else pattern.domain)
        assert not pattern.matches(pattern.domain if pattern.wildcard else below)
        assert not pattern.matches(deeper)


@given(
    st.from_regex(r"[A-Za-z0-9]{1,32}", fullmatch=True),
    st.lists(st.tuples(unknown, st.from_regex(r"[!-:<>-~]{1,10}", fullmatch=True)), max_size=3),
)
def test_a_record_comes_back(id_: str, extensions: list[tuple[str, str]]) -> None:
    record = Record(id=id_, extensions=tuple(extensions))
    assert parse_record(str(record)) == record


@given(st.text() | st.lists(record_pieces, max_size=12).map(lambda some: "".join(["v=STSv1;", *some])))
def test_any_text_is_a_record_or_refused(text: str) -> None:
    try:
        record = parse_record(text)
    except InvalidRecord as error:
        assert error.value == text  # noqa: PT017 - it may as well succeed
        return
    assert text.startswith("v=STSv1")
    assert parse_record(str(record)) == record
