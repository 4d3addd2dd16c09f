"""A file that remembers how it was written and flushed: a disk that can lose its power at any write.

Run as ``python recorded_disk.py MOUNT IMAGE LOG``, as root: MOUNT, an empty file, becomes the file, by FUSE:
not every kernel has dm-log-writes. What is written to it goes to IMAGE, and into LOG with every flush,
before the writer hears of it. It ends when MOUNT is unmounted. :func:`crash_images` makes of a log what a
disk with a cache may hold after a cut: all that was flushed, and any part of what was not.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

FLUSH = 0xFFFFFFFF
RECORD = struct.Struct("<QI")
IN, OUT = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
GETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSHED = 3, 14, 15, 16, 17, 18, 20, 25
INIT, FORGET, INTERRUPT, BATCH_FORGET = 26, 2, 36, 42
ENOSYS = 38
CHUNK = 131072
SECTOR = 4096


def serve(mount: Path, image: Path, log: Path) -> None:
    """Is the file at *mount* until it is unmounted."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=100000,user_id=0,group_id=0,allow_other,max_read={CHUNK}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"recorded", os.fsencode(mount), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount", str(mount))
    print("mounted", flush=True)
    with image.open("r+b", buffering=0) as disk, log.open("ab", buffering=0) as journal:
        while True:
            try:
                request = os.read(device, CHUNK + 4096)
            except OSError:
                return
            _answer(device, request, disk.fileno(), journal.fileno())


def _answer(device: int, request: bytes, disk: int, journal: int) -> None:
    _, opcode, unique, *_ = IN.unpack_from(request)
    if opcode in {FORGET, BATCH_FORGET, INTERRUPT}:
        return
    answer = _answered(opcode, request[IN.size :], disk, journal)
    error = 0 if answer is not None else -ENOSYS
    body = answer or b""
    os.write(device, OUT.pack(OUT.size + len(body), error, unique) + body)


def _answered(opcode: int, body: bytes, disk: int, journal: int) -> bytes | None:
    match opcode:
        case 26:  # INIT
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, CHUNK, 0, 12, 10, CHUNK, 1, 0, 0, 0)
        case 3:  # GETATTR
            return struct.pack("<QII", 3600, 0, 0) + _attributes(os.fstat(disk).st_size)
        case 14:  # OPEN: past the page cache, so that every write is seen
            return struct.pack("<QII", 1, 1, 0)
        case 15:  # READ
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(disk, size, offset)
        case 16:  # WRITE
            _, offset, size = struct.unpack_from("<QQI", body)
            data = body[40 : 40 + size]
            os.pwrite(disk, data, offset)
            os.write(journal, RECORD.pack(offset, size) + data)
            return struct.pack("<II", size, 0)
        case 20:  # FSYNC
            os.write(journal, RECORD.pack(0, FLUSH))
            return b""
        case 17:
            return struct.pack("<5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        case 18 | 25:
            return b""
        case _:
            return None


def _attributes(size: int) -> bytes:
    return struct.pack("<6Q10I", 1, size, size // 512, 0, 0, 0, 0, 0, 0, 0o100600, 1, 0, 0, 0, 4096, 0)


def crash_images(
    before: Path, log: Path, cuts: Sequence[int], place: Path, chance: random.Random
) -> Iterator[tuple[int, Path]]:
    """Gives, for each of *cuts* (bytes of the log, ascending), an image of the disk after a power cut there.

    *before* is the disk when the log began. Every other image has all that was written, as a disk without a
    cache has; the others lack a random part of what was not flushed yet. The image is gone when the next is
    asked for.
    """
    safe = place / "safe.img"
    copy_sparse(before, safe)
    image = place / "cut.img"
    pending: list[tuple[int, bytes]] = []
    with log.open("rb") as journal, safe.open("r+b") as disk:
        for number, cut in enumerate(cuts):
            for record in _records(journal, cut):
                if record is None:
                    _write(disk.fileno(), pending)
                    pending.clear()
                else:
                    pending.append(record)
            copy_sparse(safe, image)
            with image.open("r+b") as torn:
                _write(torn.fileno(), pending if number % 2 else _survivors(pending, chance))
            yield cut, image
            image.unlink()
    safe.unlink()


def _records(journal: object, cut: int) -> Iterator[tuple[int, bytes] | None]:
    while True:
        at = journal.tell()  # type: ignore[attr-defined]
        head = journal.read(RECORD.size)  # type: ignore[attr-defined]
        if len(head) < RECORD.size:
            journal.seek(at)  # type: ignore[attr-defined]
            return
        offset, size = RECORD.unpack(head)
        length = 0 if size == FLUSH else size
        if at + RECORD.size + length > cut:
            journal.seek(at)  # type: ignore[attr-defined]
            return
        yield None if size == FLUSH else (offset, journal.read(length))  # type: ignore[attr-defined]


def _survivors(pending: Sequence[tuple[int, bytes]], chance: random.Random) -> list[tuple[int, bytes]]:
    """Returns what a disk's cache happened to write of *pending*: sectors whole, in any order."""
    share = chance.random()
    sectors = (
        (offset + n, data[n : n + SECTOR]) for offset, data in pending for n in range(0, len(data), SECTOR)
    )
    return [sector for sector in sectors if chance.random() < share]


def _write(handle: int, writes: Sequence[tuple[int, bytes]]) -> None:
    for offset, data in writes:
        os.pwrite(handle, data, offset)


def copy_sparse(source: Path, target: Path) -> None:
    """Copies what is not a hole."""
    with source.open("rb") as old, target.open("wb") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            old.seek(at)
            new.seek(at)
            shutil.copyfileobj(_Part(old, end - at), new, 1 << 20)  # type: ignore[arg-type,type-var]
            at = end


class _Part:
    def __init__(self, file: object, left: int) -> None:
        self.file, self.left = file, left

    def read(self, size: int) -> bytes:
        data: bytes = self.file.read(min(size, self.left))  # type: ignore[attr-defined]
        self.left -= len(data)
        return data


if __name__ == "__main__":
    serve(*map(Path, sys.argv[1:]))
