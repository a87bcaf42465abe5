"""What is accepted as a DSN parameter cannot end one, or a command, and means what was given."""

import re

from hypothesis import given
from hypothesis import strategies as st

from moxlib.errors import InputError
from moxlib.smtp import decode_xtext
from moxlib.smtpclient import DSNParameters, RecipientParameters


@given(st.text(), st.text(), st.booleans())
def test_nothing_ends_a_parameter(envid: str, address: str, smtputf8: bool) -> None:
    """Whatever is accepted is one word, and means what was given."""
    try:
        said = DSNParameters(envid=envid).parameters()
    except InputError:
        said = ""
    else:
        assert decode_xtext(said.removeprefix(" ENVID=")) == envid
    assert re.fullmatch(r"(?: ENVID=[!-~]+)?", said)
    for kind in ("utf-8", "rfc822"):
        try:
            recipient = RecipientParameters(orcpt=f"{kind};{address}")
        except InputError:
            continue
        said = recipient.parameters(smtputf8=smtputf8)
        assert re.fullmatch(rf" ORCPT={kind};[^\x00-\x20\x7f-\x9f=]+", said)
        assert (smtputf8 and kind == "utf-8") or said.isascii()
        said.encode()
