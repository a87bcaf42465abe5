r"""How the parameters of an SMTP command carry text: xtext (RFC 3461 4), and addresses of the type utf-8 (RFC 6533 3).

Neither form has a blank, a control or an "=" in it, so what is encoded cannot end a parameter or a command.
"""

import re
from typing import Final

from moxlib.errors import InputError

__all__ = ["InvalidXtext", "decode_xtext", "encode_utf8_address", "encode_xtext"]

_not_xtext = re.compile(r"[^!-*,-<>-~]")  # RFC 3461 4: xchar is any of "!" to "~" but "+" and "="
_xtext = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_coded = re.compile(r"\+([0-9A-F]{2})")
_not_qchar = re.compile(r"[^!-*,-<>-\[\]-~]")  # RFC 6533 3: nor "\"
_not_quchar = re.compile(r"[^!-*,-<>-\[\]-~\x80-\U0010ffff]")
_ASCII: Final = 0x80


class InvalidXtext(InputError):
    """A text cannot be written as xtext, or is none.

    Attributes:
        value: the text.
    """

    def __init__(self, value: str) -> None:
        super().__init__(f"not xtext, nor text for it: {value[:100]!a}")
        self.value = value

    def __reduce__(self) -> "tuple[type[InvalidXtext], tuple[str]]":
        """Pickle by fields, not by text."""
        return type(self), (self.value,)


def encode_xtext(text: str) -> str:
    """Return ASCII text as xtext: what is not visible, "+" and "=" become "+" and two hexadecimal digits.

    Raises:
        InvalidXtext: it has characters beyond ASCII, for which xtext has no form.
    """
    if not text.isascii():
        raise InvalidXtext(text)
    if _not_xtext.search(text) is None:  # as nearly always
        return text
    return _not_xtext.sub(lambda match: f"+{ord(match[0]):02X}", text)


def decode_xtext(text: str) -> str:
    """Return the ASCII text that xtext stands for. Lower-case digits are not xtext (RFC 3461 4).

    Raises:
        InvalidXtext: it is not xtext, or stands for a byte that is not ASCII.
    """
    if not _xtext.fullmatch(text):
        raise InvalidXtext(text)
    return _coded.sub(lambda match: _character(int(match[1], 16), text), text)


def _character(code: int, text: str) -> str:
    if code >= _ASCII:
        raise InvalidXtext(text)
    return chr(code)


def encode_utf8_address(address: str, *, smtputf8: bool) -> str:
    r"""Return an address of the type utf-8 as an ORCPT parameter has it (RFC 6533 3).

    Args:
        address: in Unicode.
        smtputf8: the parameter goes with SMTPUTF8, so that it may be in UTF-8 (utf-8-addr-unitext). Otherwise it is
            ASCII, with `\x{...}` for the rest (utf-8-addr-xtext).
    """
    return (_not_quchar if smtputf8 else _not_qchar).sub(lambda match: f"\\x{{{ord(match[0]):02X}}}", address)
