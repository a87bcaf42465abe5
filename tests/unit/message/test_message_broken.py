"""Messages that are wrong in some way are read as far as they can be. mox gives up some of them, or reads less."""

import time
from collections.abc import Callable

import pytest

from moxlib.message import Limits, Part, read_message, readable, structure

PREFIX = b"From: Jane <jane@example.com>\r\nSubject: hello\r\n"


def shape(part: Part) -> object:
    """Return the content types of a tree, and the decoded bodies of its leaves."""
    if part.is_multipart:
        return part.media_type, [shape(child) for child in part.parts]
    return part.media_type, part.body(10_000)


def read(content: bytes) -> Part:
    part = read_message(PREFIX + content)
    assert part.envelope.subject == "hello"
    return part


def mixed(content: bytes) -> Part:
    return read(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + content)


# Delimiters


def test_missing_closing_delimiter() -> None:
    part = mixed(b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>x")
    assert shape(part) == ("multipart/mixed", [("text/plain", b"hello"), ("text/html", b"<p>x")])
    assert readable(part).text == "hello"


@pytest.mark.parametrize("end", [b"--b", b"--b  ", b"--b--", b"--b--\r\n", b"--b-- junk", b"--b\r"])
def test_delimiter_at_the_very_end_begins_no_part(end: bytes) -> None:
    assert shape(mixed(b"--b\r\n\r\nhello\r\n" + end)) == ("multipart/mixed", [("text/plain", b"hello")])


@pytest.mark.parametrize("line", [b"--bb", b"--b-", b" --b", b"-- b", b"--B", b"x--b", b"--b_--"])
def test_lines_that_only_look_like_delimiters(line: bytes) -> None:
    body = b"one\r\n" + line + b"\r\ntwo"
    assert shape(mixed(b"--b\r\n\r\n" + body + b"\r\n--b--\r\n")) == ("multipart/mixed", [("text/plain", body)])


def test_delimiters_with_blanks_and_other_line_ends() -> None:
    part = mixed(b"preamble\n--b \t\r\n\r\none\n--b\n\ntwo\r\n--b\t\n\nthree\n--b--\t\nepilogue\r\n--b\r\n\r\nfour")
    assert [child.raw_body() for child in part.parts] == [b"one", b"two", b"three"]


def test_multipart_has_no_transfer_encoding() -> None:
    part = read(
        b"Content-Transfer-Encoding: base64\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--"
    )
    assert shape(part) == ("multipart/mixed", [("text/plain", b"one")])
    assert part.body(100) == part.raw_body()


@pytest.mark.parametrize("content", [b"", b"nothing\r\n", b"--b--\r\n", b"--c\r\n\r\nx\r\n"])
def test_multipart_without_parts_is_opaque(content: bytes) -> None:
    part = mixed(content)
    assert shape(part) == ("multipart/mixed", [])
    assert not part.parts
    found = structure(part)
    assert (found.content_type, found.decoded_size, found.parts) == ("application/octet-stream", len(content), ())
    assert not readable(part).found


@pytest.mark.parametrize(
    "parameter", [b"", b"; boundary", b"; boundary=", b'; boundary=""', b"; boundary=" + b"b" * 999]
)
def test_multipart_without_a_boundary(parameter: bytes) -> None:
    part = read(b"Content-Type: multipart/mixed" + parameter + b"\r\n\r\n--\r\n\r\nx\r\n----\r\n")
    assert shape(part) == ("multipart/mixed", [])


def test_multipart_within_one_of_the_same_boundary() -> None:
    inner = b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    part = mixed(b"--b\r\n" + inner + b"--b\r\n\r\nthree\r\n--b--\r\n")
    assert shape(part) == (
        "multipart/mixed",
        [("multipart/alternative", []), ("text/plain", b"one"), ("text/plain", b"two")],
    )


def test_inner_multipart_without_end_ends_with_its_parent() -> None:
    inner = b"Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\none\r\n"
    part = mixed(b"--b\r\n" + inner + b"--b\r\n\r\ntwo\r\n--b--\r\n")
    assert shape(part) == (
        "multipart/mixed",
        [("multipart/alternative", [("text/plain", b"one")]), ("text/plain", b"two")],
    )


def test_part_without_blank_line() -> None:
    assert shape(mixed(b"--b\r\nContent-Type: text/html\r\n--b--\r\n")) == ("multipart/mixed", [("text/html", b"")])
    assert shape(mixed(b"--b\r\n--b\r\n\r\n--b--")) == ("multipart/mixed", [("text/plain", b""), ("text/plain", b"")])


def test_part_without_header_and_blank_line() -> None:
    assert shape(mixed(b"--b\r\njust text\r\n--b--\r\n")) == ("multipart/mixed", [("text/plain", b"just text")])


# Headers


def test_lines_that_are_no_fields_are_passed_over() -> None:
    part = read_message(b"From: a@example.org\r\nthis is not a header\r\n folded\r\nSubject: x\r\n\r\nbody\r\n")
    assert (part.get("from"), part.get("subject"), part.body(10)) == ("a@example.org", "x", b"body\r\n")


def test_mbox_line() -> None:
    part = read_message(b"From a@example.org Mon Jan  1 10:00:00 2024\r\nFrom: a@example.org\r\n\r\nx\r\n")
    assert part.values("from") == ("a@example.org",)


def test_indented_first_line() -> None:
    part = read_message(b" From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n")
    assert (part.get("from"), part.get("subject"), part.body(10)) == ("a@example.org", "x", b"body\r\n")


def test_blanks_before_the_colon() -> None:
    part = read_message(b"From : a@example.org\r\nSubject\t: x\r\n\r\n")
    assert (part.get("from"), part.get("subject")) == ("a@example.org", "x")


@pytest.mark.parametrize("body", [b"Hello, Jane\r\nhow are you?", b"Hello\r\n\r\nand more", b"-- \r\n indented\r\n"])
def test_missing_blank_line(body: bytes) -> None:
    part = read(body)
    assert part.header == PREFIX
    assert part.raw_body() == body


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\n", b"\r"])
def test_header_without_body(end: bytes) -> None:
    part = read_message(b"From: a@example.org\r\nSubject: x" + end)
    assert (part.get("subject"), part.raw_body(), part.body_start) == ("x", b"", part.end)
    assert part.header == b"From: a@example.org\r\nSubject: x" + end


def test_body_without_header() -> None:
    part = read_message(b"\r\nSubject: x\r\n\r\nbody\r\n")
    assert (part.header, part.get("subject")) == (b"\r\n", "")
    assert part.raw_body() == b"Subject: x\r\n\r\nbody\r\n"
    assert read_message(b"no header\r\n\r\nat all").raw_body() == b"no header\r\n\r\nat all"


def test_nothing() -> None:
    part = read_message(b"")
    assert (part.header, part.raw_body(), part.media_type, part.get("from")) == (b"", b"", "text/plain", "")
    assert (part.envelope.from_, part.envelope.date, part.references, list(part.walk())) == ((), None, (), [part])


def test_bare_line_feeds() -> None:
    lines = (
        PREFIX + b"X: a\r\n b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nY: z\r\n\r\n"
    )
    part = read_message(lines.replace(b"\r\n", b"\n") + b"two\nlines\n--b--\n")
    assert shape(part) == ("multipart/mixed", [("text/plain", b"one"), ("text/plain", b"two\nlines")])
    assert (part.get("x"), part.parts[1].get("y"), part.get("subject")) == ("a b", "z", "hello")
    assert part.parts[1].decoded_size == len(b"two\r\nlines")


def test_mixed_line_ends_in_a_header() -> None:
    part = read_message(b"A: 1\nB: 2\r\nC: 3\n\r\nbody\n\nmore")
    assert [part.get(name) for name in "abc"] == ["1", "2", "3"]
    assert part.raw_body() == b"body\n\nmore"


def test_raw_eight_bit_headers() -> None:
    part = read_message(b"Subject: h\xc3\xa9llo\r\nX-Latin: h\xe9llo\r\nFrom: J\xe9r\xf4me <j@example.com>\r\n\r\n")
    assert (part.get("subject"), part.get("x-latin")) == ("héllo", "héllo")
    assert part.envelope.from_ == (("Jérôme", "j", "example.com"),)


def test_overlong_lines() -> None:
    part = read_message(b"Subject: " + b"s" * 100_000 + b"\r\n\r\n" + b"x" * 100_000)
    assert (len(part.get("subject")), part.decoded_size) == (100_000, 100_000)


def test_malformed_addresses_are_left_out_and_the_others_read() -> None:
    part = read_message(
        b'To: nobody, <a..b@example.org>, "" <c@example.org>, <@>, d@example.org, <""@example.org>, e@-.example\r\n'
        b"To: (a comment) f@example.org\r\n\r\n"
    )
    assert [address.user for address in part.envelope.to] == ["c", "d", "f"]


def test_header_over_the_limit_is_cut_at_a_line() -> None:
    content = b"A: 1\r\nB: 2\r\nC: 3\r\n\r\nbody"
    part = read_message(content, limits=Limits(max_header=14))
    assert (part.header, part.get("b"), part.get("c")) == (b"A: 1\r\nB: 2\r\n", "2", "")
    assert part.raw_body() == b"C: 3\r\n\r\nbody"
    assert read_message(b"A: " + b"1" * 100, limits=Limits(max_header=14)).body_start == 14


# Bodies


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        (b"aGVsbG8=", b"hello"),
        (b" aGVs\tbG8=\r\n", b"hello"),
        (b"aGVsbG8=\r\n-- footer added by list\r\n", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"aGVsbG8gd29ybG", b"hello worl"),
        (b"aGVsbG8gd29yb", b"hello wor"),
        (b"aGV\x00s\xff-_bG8=", b"hello"),
        (b"=aGVsbG8==", b"hello"),
        (b"", b""),
        (b"====", b""),
    ],
)
def test_base64(encoded: bytes, decoded: bytes) -> None:
    part = read(b"Content-Transfer-Encoding: base64\r\nContent-Type: image/png\r\n\r\n" + encoded)
    assert part.body(100) == decoded
    assert part.decoded_size == len(decoded)


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        (b"h=C3=A9llo=\r\n you", "héllo you".encode()),
        (b"h=c3=a9", "hé".encode()),
        (b"bad =ZZ escape = here\r\n", b"bad =ZZ escape = here\r\n"),
        (b"trailing \t \r\nsoft= \r\nbreak\nlf \n", b"trailing\r\nsoftbreak\nlf\n"),
        (b"=", b""),
        (b"=C", b"=C"),
        (b"\xff\x00=3D", b"\xff\x00="),
    ],
)
def test_quoted_printable(encoded: bytes, decoded: bytes) -> None:
    part = read(b"Content-Transfer-Encoding: Quoted-Printable\r\n\r\n" + encoded)
    assert part.body(100) == decoded


@pytest.mark.parametrize("value", [b"base64 (comment)", b'"base64"', b"(c) BASE64", b"base64;"])
def test_transfer_encoding_with_something_else(value: bytes) -> None:
    part = read(b"Content-Transfer-Encoding: " + value + b"\r\n\r\naGVsbG8=\r\n")
    assert (part.transfer_encoding, part.body(10)) == ("base64", b"hello")


def test_unknown_transfer_encoding_is_left() -> None:
    assert read(b"Content-Transfer-Encoding: x-secret\r\n\r\naGVsbG8=").body(10) == b"aGVsbG8="


@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [
        ("utf-8", b"caf\xe9 \xff ok", "caf\ufffd \ufffd ok"),
        ("x-klingon", "é".encode(), "é"),
        ("us-ascii", "é".encode(), "é"),
        ("punycode", b"caf-dma", "caf-dma"),
        ("utf-7", b"+AOk-", "+AOk-"),
        ("rot13", b"abc", "abc"),
        ("gb2312", b"\xd6\xd0\x81\x30\x81\x30", "中\x80"),
        ("Shift_JIS", b"\x87\x40", "①"),
        ("iso-8859-1", b"\xe9\x80", "é\x80"),
        ("windows-1252", b"\x80", "€"),
        ("utf-16", b"\xff\xfeh\0i\0", "hi"),
    ],
)
def test_charsets(charset: str, octets: bytes, text: str) -> None:
    part = read(f'Content-Type: text/plain; charset="{charset}"\r\n\r\n'.encode() + octets)
    assert part.text(100) == text


# Structure and readable text, where mox differs


def test_message_that_is_nothing_but_another() -> None:
    inner = b"From: <x@y.example>\r\nSubject: inner\r\n\r\ninner body\r\n"
    part = read(b"Content-Type: message/rfc822\r\n\r\n" + inner)
    assert readable(part).text == "inner body\n"
    found = structure(part)
    assert (found.content_type, found.decoded_size) == ("message/rfc822", len(inner))
    assert [child.content_type for child in found.parts] == ["text/plain"]


def test_digest_holds_messages() -> None:
    inner = b"From: <a@b.example>\r\nSubject: one\r\n\r\nbody one"
    part = read(b"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\n" + inner + b"\r\n--d--\r\n")
    [child] = part.parts
    assert child.media_type == "message/rfc822"
    assert child.message is not None
    assert child.message.envelope.subject == "one"
    assert structure(part).parts[0].content_type == "message/rfc822"


def test_text_attachment_is_not_the_body() -> None:
    part = mixed(b"--b\r\nContent-Disposition: attachment\r\n\r\nattached\r\n--b\r\n\r\nbody\r\n--b--\r\n")
    assert readable(part).text == "body"


@pytest.mark.parametrize(
    ("given", "filename"),
    [
        (b'"../../etc/passwd"', "passwd"),
        (b'"/"', ""),
        (b'".."', ""),
        (b"my file.txt", "my file.txt"),
        (b'"C:\\dir\\file.txt"', "C:\\dir\\file.txt"),
        (b'"=?utf-8?q?a=0D=0Ab=00=2F..?="', ""),
        (b'*0=a; filename*1="\x01b"', "a b"),
    ],
)
def test_file_names(given: bytes, filename: str) -> None:
    separator = b"" if given.startswith(b"*") else b"="
    part = read(b"Content-Disposition: attachment; filename" + separator + given + b"\r\n\r\n")
    assert (part.disposition, part.filename) == ("attachment", filename)


def test_nul_is_not_handed_on() -> None:
    part = read(b'Content-Type: text/plain; name="a\0b"\r\nContent-ID: <\0>\r\n\r\na\0b\r\n')
    assert readable(part).text == "a\ufffdb\n"
    found = structure(part)
    assert (dict(found.parameters), found.content_id) == ({"name": "a b"}, "< >")


@pytest.mark.parametrize("extra", [0, 1, 2, 3])
def test_text_is_cut_at_a_character(extra: int) -> None:
    part = read(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + b"x" * extra + "é€😀\r\n".encode() * 1000)
    for size in range(100, 112):
        text = readable(part, size).text
        octets = text.replace("\n", "\r\n").encode()
        assert size - 4 < len(octets) <= size
        assert part.text(10_000_000).replace("\r\n", "\n").startswith(text)


# Limits


def nested(depth: int) -> bytes:
    opened = b"".join(
        b"Content-Type: multipart/mixed; boundary=n%d\r\n\r\n--n%d\r\n" % (level, level) for level in range(depth)
    )
    return opened + b"\r\ndeep\r\n" + b"".join(b"--n%d--\r\n" % level for level in reversed(range(depth)))


def depth_of(part: Part) -> int:
    return max(found.depth for found in part.walk(messages=True))


def test_depth_is_bounded() -> None:
    assert readable(read_message(nested(100))).text == "deep"
    part = read_message(nested(5000))
    assert depth_of(part) == 100
    assert not readable(part).found
    deepest = structure(part)
    while deepest.parts:
        deepest = deepest.parts[0]
    assert deepest.content_type == "application/octet-stream"
    repr(structure(part))


def test_depth_of_messages_is_bounded() -> None:
    part = read_message(b"Content-Type: message/rfc822\r\n\r\n" * 5000 + b"\r\ndeep")
    assert depth_of(part) == 100
    assert not readable(part).found
    assert structure(part).parts[0].content_type == "message/rfc822"


def test_number_of_parts_is_bounded() -> None:
    part = mixed(b"--b\r\n\r\nx\r\n" * 30_000 + b"--b--\r\n")
    assert len(part.parts) == 10_000
    assert part.parts[9_998].raw_body() == b"x"
    assert part.parts[-1].raw_body().count(b"--b") == 20_001
    assert len(structure(part).parts) == 9_999  # with the multipart itself, 10,000
    assert sum(1 for _ in part.walk()) == 10_000


def test_number_of_parts_of_a_tree_is_bounded() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=c\r\n\r\n" + b"--c\r\nContent-Type: a/b\r\n\r\n\r\n" * 9
    part = mixed((b"--b\r\n" + inner) * 9 + b"--b\r\n" + inner + b"--c\r\n\r\ntext")
    limited = read_message(part.header + part.raw_body(), limits=Limits(max_parts=20))
    assert sum(1 for _ in part.walk()) == 102
    assert sum(1 for _ in limited.walk()) == 20

    def count(found: object) -> int:
        return 1 + sum(count(child) for child in getattr(found, "parts", ()))

    assert not readable(limited).found
    assert readable(part).found
    assert count(structure(part)) == 102
    assert count(structure(limited)) == 20


def test_embedded_message_in_base64_is_bounded() -> None:
    encoded = b"Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"QTogYg0KDQp4" * 100
    part = read_message(encoded, limits=Limits(max_message=10))
    assert part.message is not None
    assert (part.message.get("a"), part.message.raw_body()) == ("b", b"xA")


def test_encoded_messages_within_each_other_are_bounded() -> None:
    """Each is in memory once more, and quoted-printable takes no more room than what it stands for."""
    head = b"Content-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    parts = list(read_message(head * 50 + b"\r\ndeep").walk(messages=True))
    assert len(parts) == 4
    assert parts[-1].message is None
    assert parts[-1].raw_body() == head * 46 + b"\r\ndeep"
    plain = b"Content-Type: message/global\r\n\r\n"
    assert len(list(read_message((head + plain) * 3 + b"\r\ndeep").walk(messages=True))) == 7
    assert len(list(read_message((head + plain) * 4 + b"\r\ndeep").walk(messages=True))) == 7


@pytest.mark.parametrize("limit", ["max_header", "max_depth", "max_parts", "max_message"])
def test_limits_are_positive(limit: str) -> None:
    with pytest.raises(ValueError, match="below one"):
        Limits(**{limit: 0})


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "fields": lambda n: b"a:\n" * n,
    "folds": lambda n: b"a:" + b"\n " * n + b"\n\nx",
    "no fields": lambda n: b"x\n" * n + b"a: b\n\nx",
    "blanks in a header": lambda n: b"Subject: " + b" " * n + b"x\n\n",
    "colons": lambda n: b"Content-Type: a/b" + b";" * n + b"\n\n",
    "parameters": lambda n: b"Content-Type: a/b" + b";a=b" * n + b"\n\n",
    "sections": lambda n: b"Content-Type: a/b" + b"".join(b";a*%d*=%%41" % i for i in range(n // 8)) + b"\n\n",
    "quotes": lambda n: b'Content-Type: a/b;a="' + b'\\"' * n + b"\n\n",
    "comments": lambda n: b"Content-Type: a/b;a=" + b"(" * n + b"\nDate: " + b"(" * n + b"\n\n",
    "words": lambda n: b"Subject: " + b"=?utf-8?q?" * n + b"\nFrom: " + b"=?a?b?" * n + b"\n\n",
    "decoded words": lambda n: b"Subject: " + b"=?utf-8?q?a?= " * (n // 4) + b"\n\n",
    "addresses": lambda n: b"To: " + b"a@b," * (n // 4) + b"\nFrom: " + b'<\\"' * n + b"\nCc: " + b"()" * n + b"\n\n",
    "more addresses": lambda n: (
        b'To: "' + b'\\"' * n + b"\nFrom: " + b'"a" ' * (n // 4) + b"\nCc: " + b"a:" * n + b"\n\n"
    ),
    "references": lambda n: b"References: " + b"<a " * n + b"\n\n",
    "delimiters": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * n,
    "almost delimiters": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--bb\n" * n,
    "prefixes of a delimiter": lambda n: (
        b"".join(b"Content-Type: multipart/mixed; boundary=%b\n\n--%b\n" % (b"x" * i, b"x" * i) for i in range(1, 100))
        + (b"--" + b"x" * 100 + b"y\n") * (n // 104)
    ),
    "charsets": lambda n: (
        (b"Subject: " + b"".join(b"=?x%d?q?a?= " % i for i in range(n // 8)))
        + (b"\nContent-Type: a/b" + b"".join(b";a%d*=x%d''b" % (i, i) for i in range(n // 8)) + b"\n\n")
    ),
    "encoded messages": lambda n: (
        b"Content-Type: message/global\nContent-Transfer-Encoding: quoted-printable\n\n" * 100 + b"\n" + b"x\n" * n
    ),
    "trailing blanks": lambda n: b"Content-Transfer-Encoding: quoted-printable\n\n" + b" " * n + b"x" + b" \n" * n,
    "one line": lambda n: b"Content-Transfer-Encoding: quoted-printable\n\n" + b"= " * n,
    "padding": lambda n: b"Content-Transfer-Encoding: base64\n\n" + b"A=" * n,
    "nested": lambda n: nested(n // 60),
    "messages": lambda n: b"Content-Type: message/rfc822\n\n" * (n // 30),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_grows_with_length_alone(name: str) -> None:
    """What takes the square of its length would take many minutes here; none takes a second otherwise."""
    part = read_message(HOSTILE[name](200_000))
    started = time.process_time()
    for found in part.walk(messages=True):
        assert found.filename is not None
    assert part.envelope.subject is not None
    assert part.references is not None
    readable(part)
    structure(part)
    assert time.process_time() - started < 20
