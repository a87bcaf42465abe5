"""Any octets are a header with facts or an InvalidMessage; what the email package wrote is always the former."""

from email.message import EmailMessage, Message

from hypothesis import example, given
from hypothesis import strategies as st

from moxlib.message import InvalidMessage, check_lines, envelope_of, inspect_header, serialize, split_addresses
from moxlib.message.addresses import split_mailboxes

names = st.sampled_from(
    [b"From", b"To", b"bcc", b"Subject", b"Message-ID", b"X-Y", b"Date", b"TLS-Required", b"", b"\xff"]
)
values = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"a@example.com", b"no", b"x,\r\n y", b"=?utf-8?b?/w==?=", b"=?x?q?y?=", b"<a@b>"]),
)
fields = st.tuples(names, st.sampled_from([b":", b" : ", b""]), values, st.sampled_from([b"\r\n", b"\r\n", b"\n"]))
heads = st.lists(fields.map(b"".join), max_size=6).map(b"".join)


@given(st.one_of(st.binary(max_size=60), heads), st.sampled_from([b"\r\n", b"", b"\r\nbody\r\n"]))
def test_facts_or_our_error(head: bytes, rest: bytes) -> None:
    data = head + rest
    try:
        facts = inspect_header(data)
    except InvalidMessage as err:
        reason, offset, line = err.reason, err.offset, err.line
        assert reason
        assert offset is not None
        assert 0 <= offset <= len(data)
        assert line == data[:offset].count(b"\n") + 1
        return
    assert data.startswith(facts.block)
    assert len(facts.subject) <= 998
    assert all(text.encode().decode() == text for text in (facts.subject, facts.message_id))  # any database takes them
    check_lines(facts.block)
    facts.envelope()
    kept = facts.without_bcc()
    assert len(kept) == len(facts.block) - sum(end - start for start, end in facts.bcc_spans)
    if kept.strip():
        again = inspect_header(kept)
        assert again.bcc_spans == ()
        assert (again.message_id, again.subject, again.from_addresses) == (
            facts.message_id,
            facts.subject,
            facts.from_addresses,
        )


@given(st.text(alphabet='ab@.,;:<>()[]" \\\t\r\nü', max_size=40))
@example('<" :')
def test_address_lists_always_split(value: str) -> None:
    specs = split_addresses(value)
    assert split_addresses("x@example.com, " + value)[:1] == ["x@example.com"]
    assert all(spec == spec.strip() for spec in specs)
    assert [spec for _, spec in split_mailboxes(value)] == [spec for spec in specs if spec]


named = st.one_of(
    st.text("ab .-=?_ü", max_size=12),
    st.text('ab .,:<>@()"', max_size=12).map(lambda name: '"' + name.replace('"', '\\"') + '"'),
    st.sampled_from(["=?utf-8?q?=C3=BC?= x", "=?utf-8?q?a?=  =?utf-8?b?Yg?=", ""]),
)


@given(st.lists(named, min_size=1, max_size=4))
def test_names_are_read_alike_whatever_else_is_in_the_list(names: list[str]) -> None:
    value = ", ".join(f"{name} <a@example.com>" for name in names)
    alone = split_mailboxes(value)
    assert [spec for _, spec in alone] == ["a@example.com"] * len(names)
    assert split_mailboxes(value + " (a comment, for which the list is taken apart word by word)") == alone


@given(st.dictionaries(st.sampled_from(["From", "Subject", "To", "X-Y"]), st.text(max_size=60)), st.text(max_size=60))
def test_whatever_the_email_package_takes_is_written_or_refused(values: dict[str, str], body: str) -> None:
    for message in (Message(), EmailMessage()):
        try:
            for name, value in values.items():
                message[name] = value
            message.set_payload(body, "utf-8")
        except (ValueError, LookupError, AttributeError, IndexError, TypeError):
            continue  # the email package's own refusals, and its bugs: nothing of ours was reached
        try:
            data = serialize(message)
            envelope_of(message)
        except InvalidMessage:
            continue
        facts = check_lines(data)
        assert facts.ends_in_crlf
        assert {
            line.partition(b":")[0].lower() for line in data[: facts.header_end].split(b"\r\n") if line[:1].strip()
        } <= {name.lower().encode() for name in message}
