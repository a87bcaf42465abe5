"""`moxlib.moxio` alone: encode an attachment as it comes, read lines within a limit, put a file in place durably."""

import io
from pathlib import Path

from moxlib.moxio import Base64Writer, Bufpool, LineTooLong, link_or_copy, sync_dir


def encode(source: Path, target: Path) -> None:
    """Write a file as base64 in lines of 76 characters ended by CRLF, whatever its size."""
    with source.open("rb") as reader, target.open("wb") as out, Base64Writer(out) as writer:
        while chunk := reader.read(64 * 1024):
            writer.write(chunk)


def commands(stream: io.BufferedIOBase) -> list[str]:
    """Read the lines of a peer that is not to be trusted: each of bounded length, and nothing read beyond the last."""
    pool = Bufpool(max=4, size=512)
    lines: list[str] = []
    try:
        while (line := pool.readline(stream)) != b"QUIT":
            lines.append(line.decode())
    except LineTooLong as error:
        lines.append(f"(a line of more than {error.limit} bytes)")
    return lines


def publish(source: Path, target: Path) -> None:
    """Give a file a second name, by a hard link or else a copy. When this returns, data and name are on disk."""
    link_or_copy(target, source)
    sync_dir(target.parent)


def main() -> None:
    attachment, encoded = Path("photo.raw"), Path("photo.b64")
    attachment.write_bytes(bytes(range(256)) * 4)
    encode(attachment, encoded)
    print(encoded.read_text().splitlines()[0])

    print(commands(io.BytesIO(b"EHLO client.example\r\nNOOP\nQUIT\r\n")))
    print(commands(io.BytesIO(b"NOOP\r\n" + b"x" * 10_000)))

    store = Path("store")
    store.mkdir(exist_ok=True)
    (store / "photo.b64").unlink(missing_ok=True)
    publish(encoded, store / "photo.b64")
    print((store / "photo.b64").stat().st_size, "bytes are in place")


if __name__ == "__main__":
    main()
