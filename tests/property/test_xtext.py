"""Any ASCII text survives as xtext."""

from hypothesis import given
from hypothesis import strategies as st

from moxlib.smtp import decode_xtext, encode_xtext


@given(st.text(st.characters(max_codepoint=127)))
def test_round_trip(text: str) -> None:
    encoded = encode_xtext(text)
    assert all("!" <= character <= "~" for character in encoded)
    assert "=" not in encoded
    assert decode_xtext(encoded) == text
