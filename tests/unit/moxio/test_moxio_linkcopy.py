"""link_or_copy and sync_dir, on a real file system; where a fault is needed, one call of `os` is made to fail."""

# ruff: noqa: ASYNC240 - nothing else runs in these loops

import asyncio
import errno
import io
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from moxlib.moxio import link_or_copy, link_or_copy_async, sync_dir, sync_dir_async


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "src"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    return tmp_path / "dst"


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def fail(number: int) -> Callable[..., None]:
    def call(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture
def other_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make links impossible, as between file systems."""
    monkeypatch.setattr(os, "link", fail(errno.EXDEV))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record links and fsyncs, and what was at hand when they were made."""
    made: list[str] = []
    link, fsync = os.link, os.fsync

    def recorded_link(src: Path, dst: Path) -> None:
        link(src, dst)
        made.append("link")

    def recorded_fsync(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        made.append(f"fsync {path.name} {os.fstat(descriptor).st_size if path.is_file() else 'directory'}")

    monkeypatch.setattr(os, "link", recorded_link)
    monkeypatch.setattr(os, "fsync", recorded_fsync)
    return made


def test_it_links_and_the_data_is_durable_all_the_same(src: Path, dst: Path, calls: list[str]) -> None:
    link_or_copy(dst, src)
    assert dst.samefile(src)
    assert calls == ["link", "fsync dst 7"]


def test_it_links_without_fsync_if_told(src: Path, dst: Path, calls: list[str]) -> None:
    link_or_copy(str(dst), str(src), fsync=False)
    assert calls == ["link"]


@pytest.mark.usefixtures("other_device")
def test_it_copies_between_devices(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, sizes = os.fsync, []

    def recorded_fsync(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    umask = os.umask(0o007)
    try:
        link_or_copy(dst, src)
    finally:
        os.umask(umask)
    assert dst.read_bytes() == b"content"
    assert not dst.samefile(src)
    assert stat.S_IMODE(dst.stat().st_mode) == 0o660
    assert sizes == [7]  # everything was written by then


@pytest.mark.usefixtures("other_device")
def test_it_copies_without_fsync_if_told(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", fail(errno.EIO))
    link_or_copy(dst, src, fsync=False)
    assert dst.read_bytes() == b"content"


@pytest.mark.usefixtures("other_device")
def test_it_reads_the_given_source_from_where_it_stands(src: Path, dst: Path) -> None:
    source = io.BytesIO(b"from the source")
    source.seek(5)
    link_or_copy(dst, src, source=source)
    assert dst.read_bytes() == b"the source"
    assert not source.closed


@pytest.mark.usefixtures("other_device")
def test_a_copy_of_many_reads(src: Path, dst: Path) -> None:
    content = os.urandom(1_000_003)
    src.write_bytes(content)
    link_or_copy(dst, src)
    assert dst.read_bytes() == content


def test_a_symbolic_link_is_followed(src: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "name").symlink_to("src")
    dst = tmp_path / "elsewhere" / "dst"
    link_or_copy(dst, tmp_path / "name")
    assert not dst.is_symlink()
    assert dst.samefile(src)


def test_a_missing_source_fails_at_once(src: Path, dst: Path) -> None:
    src.unlink()
    with pytest.raises(FileNotFoundError):
        link_or_copy(dst, src, source=io.BytesIO(b"not used"))
    assert not dst.exists()


def test_a_missing_directory_fails_at_once(src: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "missing" / "dst", src)


@pytest.mark.parametrize("linking", [True, False])
def test_an_existing_destination_is_an_error_and_stays(
    src: Path, dst: Path, linking: bool, request: pytest.FixtureRequest
) -> None:
    if not linking:
        request.getfixturevalue("other_device")
    dst.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        link_or_copy(dst, src)
    assert dst.read_bytes() == b"precious"


def test_a_directory_is_no_source(tmp_path: Path, dst: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        link_or_copy(dst, tmp_path / "directory")
    assert not dst.exists()


@pytest.mark.usefixtures("other_device")
def test_a_partial_copy_is_removed(src: Path, dst: Path) -> None:
    class Torn:
        def __init__(self) -> None:
            self.pieces = [b"half"]

        def read(self, size: int, /) -> bytes:
            if self.pieces:
                return self.pieces.pop()
            assert dst.exists()
            raise OSError(errno.EIO, "torn")

    with pytest.raises(OSError, match="torn"):
        link_or_copy(dst, src, source=Torn())
    assert not dst.exists()


@pytest.mark.parametrize("linking", [True, False])
def test_what_could_not_be_synced_is_removed(
    src: Path, dst: Path, linking: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if not linking:
        request.getfixturevalue("other_device")
    monkeypatch.setattr(os, "fsync", fail(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        link_or_copy(dst, src)
    assert not dst.exists()
    assert src.read_bytes() == b"content"


def test_what_could_not_be_removed_is_told(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", fail(errno.EIO))
    monkeypatch.setattr(Path, "unlink", fail(errno.EROFS))
    with pytest.raises(OSError, match="Input/output") as raised:
        link_or_copy(dst, src)
    [note] = raised.value.__notes__
    assert "dst" in note
    assert "Read-only" in note


async def test_the_async_forms_do_the_same(src: Path, dst: Path, tmp_path: Path, calls: list[str]) -> None:
    await link_or_copy_async(dst, src)
    await sync_dir_async(tmp_path)
    assert dst.samefile(src)
    assert calls == ["link", "fsync dst 7", f"fsync {tmp_path.name} directory"]
    with pytest.raises(FileExistsError):
        await link_or_copy_async(dst, src)
    with pytest.raises(FileNotFoundError):
        await sync_dir_async(tmp_path / "missing")


@pytest.mark.usefixtures("other_device")
async def test_a_cancelled_copy_leaves_nothing_behind_later(src: Path, dst: Path) -> None:
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            loop.call_soon_threadsafe(begun.set)
            assert go_on.wait(60)
            return super().read(size)

    copying = asyncio.create_task(link_or_copy_async(dst, src, source=Slow(b"content")))
    await begun.wait()
    copying.cancel()
    await asyncio.sleep(0)
    assert dst.exists()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert not dst.exists()


def test_sync_dir_syncs_the_directory_and_closes_it(tmp_path: Path, calls: list[str]) -> None:
    before = open_descriptors()
    sync_dir(str(tmp_path))
    assert calls == [f"fsync {tmp_path.name} directory"]
    assert open_descriptors() == before


def test_sync_dir_closes_the_directory_also_when_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_descriptors()
    monkeypatch.setattr(os, "fsync", fail(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        sync_dir(tmp_path)
    assert open_descriptors() == before


def test_sync_dir_of_what_is_no_directory(src: Path, tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        sync_dir(src)
    with pytest.raises(FileNotFoundError):
        sync_dir(tmp_path / "missing")


def test_sync_dir_does_nothing_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "missing")
    monkeypatch.setattr(os, "name", "nt")
    sync_dir(path)
