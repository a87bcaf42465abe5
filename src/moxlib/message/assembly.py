"""The body of a message that is composed: parts within each other only as far as they must be (RFC 2046 5.1).

multipart/mixed              if there are attachments
    multipart/related        if there are inline files
        multipart/alternative  if there are text and HTML, or further forms of them
            text, HTML, alternatives
        inline files
    attachments
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from moxlib.message.content import Body, Piece, file_body, text_body
from moxlib.message.draft import Draft, File, files_in
from moxlib.message.encoded_text import field
from moxlib.message.errors import InvalidDraft
from moxlib.message.media_types import parameter_tokens

__all__ = ["Assembly", "assemble", "random_token"]

TRIES: Final = 10  # of boundaries: a source of randomness that takes more is none
RANDOM_OCTETS: Final = 16  # of identifiers and boundaries: never the same twice, and not to be guessed


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """A body.

    Attributes:
        header: the fields that say what it is, each with its line end.
        pieces: what it consists of.
        eight_bit: octets above 127 are in it.
    """

    header: str
    pieces: tuple[Piece, ...]
    eight_bit: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """A part: its Content-Type field, the other fields, what it consists of, and whether that is not encoded."""

    content_type: str
    others: str
    pieces: Sequence[Piece]
    plain: bool = False
    eight_bit: bool = False


def assemble(draft: Draft, *, eight_bit: bool, random: Callable[[int], bytes]) -> Assembly:
    """Put the body of a message together.

    Raises:
        InvalidDraft: a file that cannot be read, or a message that cannot be sent as it is.
    """
    texts = [
        _text_part(subtype, text, eight_bit=eight_bit)
        for subtype, text in (("plain", draft.text), ("html", draft.html))
        if text
    ]
    alternatives = _file_parts(draft, "alternatives", "inline", eight_bit=eight_bit)
    inline = _file_parts(draft, "inline", "inline", eight_bit=eight_bit)
    attachments = _file_parts(draft, "attachments", "attachment", eight_bit=eight_bit)
    leaves = [*texts, *alternatives, *inline, *attachments]
    if not leaves:
        texts = leaves = [_text_part("plain", "", eight_bit=eight_bit)]
    token = _boundary_token(leaves, random) if len(leaves) > 1 or not texts else ""
    body = [*texts, *alternatives]
    if len(body) > 1 or alternatives:
        body = [_multipart("alternative", token, body)]
    if inline:
        body = [_multipart("related", token, [*body, *inline])]
    if attachments:
        body = [_multipart("mixed", token, [*body, *attachments])]
    [root] = body
    return Assembly(
        header=root.content_type + root.others,
        pieces=tuple(_joined(root.pieces)),
        eight_bit=root.eight_bit,
    )


def random_token(random: Callable[[int], bytes]) -> str:
    """Return a random text of 22 letters, digits, "-" and "_", as mox's identifiers have it."""
    return urlsafe_b64encode(random(RANDOM_OCTETS)).decode().rstrip("=")


def _text_part(subtype: str, text: str, *, eight_bit: bool) -> _Part:
    body = text_body(text, eight_bit=eight_bit)
    return _Part(
        f"Content-Type: text/{subtype}; charset={body.charset}\r\n",
        f"Content-Transfer-Encoding: {body.encoding}\r\n",
        (body.content,),
        plain=body.encoding != "quoted-printable",
        eight_bit=body.encoding == "8bit",
    )


def _file_parts(draft: Draft, name: str, disposition: str, *, eight_bit: bool) -> list[_Part]:
    return [
        _file_part(file, file_body(file, f"{name}[{index}]", eight_bit=eight_bit), disposition)
        for index, file in enumerate(files_in(getattr(draft, name)))
    ]


def _file_part(file: File, body: Body, disposition: str) -> _Part:
    parameters = (("filename", file.file_name),) if file.file_name else ()
    fields = [field("Content-Disposition", parameter_tokens(disposition, parameters))]
    if file.content_id:
        fields.append(f"Content-Id: {file.content_id}\r\n")
    fields.append(f"Content-Transfer-Encoding: {body.encoding}\r\n")
    return _Part(
        "" if body.media_type is None else field("Content-Type", body.media_type.tokens()),
        "".join(fields),
        (body.piece,),
        plain=body.encoding != "base64",
        eight_bit=body.encoding == "8bit",
    )


def _boundary_token(leaves: Sequence[_Part], random: Callable[[int], bytes]) -> str:
    """Return what the boundaries have in common, which is nowhere in the content.

    In base64 and quoted-printable there is no "=_" (RFC 2045 6.7); files that are written as they are from where they
    lie are not searched for what is not to be guessed.
    """
    plain = [piece for leaf in leaves if leaf.plain for piece in leaf.pieces if isinstance(piece, bytes)]
    for _ in range(TRIES):
        token = random_token(random)
        needle = token.encode()
        if not any(needle in content for content in plain):
            return token
    raise InvalidDraft("no boundary found that is not in it", "text")


def _multipart(kind: str, token: str, parts: Sequence[_Part]) -> _Part:
    boundary = f"=_{kind[0]}{token}"
    pieces: list[Piece] = []
    for part in parts:
        start = f"\r\n--{boundary}\r\n" if pieces else f"--{boundary}\r\n"
        pieces.append(f"{start}{part.others}{part.content_type}\r\n".encode())
        pieces += part.pieces
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    # Differs: mox leaves it out, which says 7bit. RFC 2045 6.4: what holds 8-bit data is labelled so.
    eight_bit = any(part.eight_bit for part in parts)
    return _Part(
        field("Content-Type", parameter_tokens(f"multipart/{kind}", (("boundary", boundary),))),
        "Content-Transfer-Encoding: 8bit\r\n" if eight_bit else "",
        pieces,
        eight_bit=eight_bit,
    )


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Join octets that are next to each other."""
    for is_octets, group in groupby(pieces, lambda piece: isinstance(piece, bytes)):
        if is_octets:
            yield b"".join([piece for piece in group if isinstance(piece, bytes)])
        else:
            yield from group
