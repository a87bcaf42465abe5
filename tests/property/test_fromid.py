"""Whatever the sender: its fromid is found again, and taken off again; or it is refused."""

from hypothesis import assume, given
from hypothesis import strategies as st

from moxlib.dns import parse_domain
from moxlib.queue.fromid import FromIDConfig, InvalidFromID, fromid_of, mail_from, make, plain
from moxlib.smtp import Address, InvalidAddress, Localpart, parse_address

DOMAIN = parse_domain("example.org")
separators = st.lists(st.sampled_from(["+", "-", "-+", "_", "=", "."]), min_size=1, max_size=4).map(tuple)
values = st.one_of(st.text('abc+-._= é"\\@', min_size=1, max_size=66), st.text(min_size=1, max_size=20))


def sender_of(value: str) -> Address | None:
    try:
        return Address(localpart=Localpart(value=value), domain=DOMAIN)
    except InvalidAddress:
        return None


@given(values, separators, st.binary(min_size=16, max_size=16))
def test_made_and_found_and_taken_off(value: str, these: tuple[str, ...], random: bytes) -> None:
    FromIDConfig(separators={"example.org": these})
    sender = sender_of(value)
    assume(sender is not None)
    assert sender is not None
    try:
        made = make(sender, these, lambda size: random[:size])
    except InvalidFromID:
        assert len(value.encode()) + len(these[0]) + 22 > 64
        return
    assert parse_address(str(made.address)) == made.address
    assert len(made.address.localpart.value.encode()) <= 64
    assert made.fromid in fromid_of(made.address, these)
    assert fromid_of(made.address, these)[0] == made.fromid
    without = plain(made.address, made.fromid, these)
    assert sender.localpart.value.startswith(without.localpart.value)
    assert without.localpart.value
    assert make(without, these, lambda size: random[:size]) == made
    [taken] = mail_from(made.address, recipients=1, separators=these, random=lambda size: b"", smtp=True)
    assert taken == made
