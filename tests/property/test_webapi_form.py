"""Percent-encoded text is decoded as the standard library decodes it."""

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from moxlib.webapi.request_body import decode_percent

# Of what quoted-printable treats in a way of its own, much.
TEXT = st.lists(
    st.one_of(st.binary(max_size=3), st.sampled_from([b"=", b"==", b"=\r\n", b"%3D", b"%0A", b" \n", b"_"]))
)


@given(st.binary())
def test_what_is_encoded_comes_back(octets: bytes) -> None:
    assert decode_percent(quote_from_bytes(octets, safe="").encode()) == octets


@given(TEXT.map(b"".join))
def test_any_text_is_decoded_alike(text: bytes) -> None:
    text = re.sub(rb"%(?![0-9A-Fa-f]{2})", b"", text)
    while re.search(rb"%(?![0-9A-Fa-f]{2})", text):  # what taking one away has made
        text = re.sub(rb"%(?![0-9A-Fa-f]{2})", b"", text)
    assert decode_percent(text) == unquote_to_bytes(text)
