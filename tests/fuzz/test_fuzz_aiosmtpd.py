"""Any text as a command's argument: it is read, or refused; what is not taken out of it stays as it was."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from moxlib.contrib.aiosmtpd.parameters import (
    MAIL_NAMES,
    RCPT_NAMES,
    MailParameters,
    read_recipient,
    split_parameters,
)
from moxlib.contrib.aiosmtpd.replies import MAX_TEXT, Refused, reply

PIECES = st.sampled_from(
    [
        "FROM:<", "TO:<", "a@b.example", ">", '"', "\\", " ", " ENVID=", " RET=", "FULL", " HOLDFOR=", " HOLDUNTIL=",
        "+2B", " NOTIFY=", "NEVER", ",", " ORCPT=", "rfc822;", "utf-8;", "\\x{", "D800", "}", "2026-01-01T00:00:00",
        "Z", "+24:00",
    ]
)  # fmt: skip
ARGUMENTS = st.one_of(st.text(), st.lists(PIECES | st.text(max_size=3)).map("".join))


@given(argument=ARGUMENTS)
def test_any_argument_is_split_and_read_or_refused(argument: str) -> None:
    for names in (MAIL_NAMES, RCPT_NAMES):
        rest, taken = split_parameters(argument, names)
        assert sorted("".join((rest, *taken)).replace(" ", "")) == sorted(argument.replace(" ", ""))
        assert all(each.partition("=")[0].upper() in names for each in taken)


@given(options=st.lists(ARGUMENTS))
def test_any_parameters_are_read_or_refused(options: list[str]) -> None:
    named = [f"{name}={option.strip()}" for name in (*MAIL_NAMES, *RCPT_NAMES) for option in options[:1]]
    for given_ in (options, named, *([each] for each in named)):
        for read in (MailParameters.read, read_recipient):
            with suppress(Refused):
                read(given_)


@given(text=st.text(st.characters(codec=None)))
def test_no_text_breaks_a_reply(text: str) -> None:
    line = reply(550, "5.1.1", text)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) <= MAX_TEXT + 10
