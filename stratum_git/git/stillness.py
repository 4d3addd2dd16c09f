"""Whether a checkout is as it was made, seen without git: for whoever answers in a moment, and ends.

Every file has to be as the index says, to the nanosecond, and older than it, or to have the same bytes;
nothing else may lie there, not even what is ignored; and the index has to be that of the tree. "No" means
that it takes git to say.
"""

from __future__ import annotations

import os
import stat
from struct import Struct

try:
    # Without the rest of OpenSSL, as in whereabouts.py.
    from _sha1 import sha1  # type: ignore[import-not-found] # it is there, and in no stub
except ImportError:
    from hashlib import sha1

MANY = 3000
"""Files; of more git is as quick."""
WIDTH = 20
ENTRY = Struct(">10I20sH")
"""Times, device, inode, mode, owners and size of a file, its blob, and flags with the length of its name."""
KNOWN = frozenset({b"TREE", b"REUC", b"UNTR", b"FSMN", b"EOIE", b"IEOT"})
"""What may follow the files, and does not say that some lie elsewhere."""
BILLION, MASK = 10**9, 0xFFFFFFFF
LARGE = 1024 * 1024
"""Bytes up to which a file is read that may have been changed in the moment when git looked."""
Told = tuple[int, ...]
Found = dict[bytes, tuple[Told, bytes]]


def is_still(root: str, git_dir: str, tree: str) -> bool:
    """Returns whether files and index of the checkout *root* are surely those of *tree*, and no others."""
    try:
        with open(f"{git_dir}/index", "rb") as file:
            written, data = os.fstat(file.fileno()).st_mtime_ns, file.read()
        files = _files(data, tree)
        return files is not None and _is_all(os.fsencode(root), files, written)
    except (OSError, ValueError):
        return False


def _files(data: bytes, tree: str) -> Found | None:
    """Returns what the index says of files, by their names, if it is that of *tree*; raises ValueError."""
    count = int.from_bytes(data[8:12], "big")
    if data[:8] != b"DIRC\0\0\0\2" or count > MANY:
        return None
    if sha1(data[:-WIDTH]).digest() != data[-WIDTH:]:  # noqa: S324 - as git has it
        return None
    at, found = 12, Found()
    for _ in range(count):
        *told, blob, flags = ENTRY.unpack_from(data, at)
        name = data[at + ENTRY.size : data.index(b"\0", at + ENTRY.size)]
        # Marks, stages, and names too long to be told, in which case all bits are set.
        if flags != len(name) or stat.S_IFMT(told[6]) not in {stat.S_IFREG, stat.S_IFLNK}:
            return None
        found[name] = (tuple(told), blob)
        at += (ENTRY.size + len(name) + 8) // 8 * 8
    return found if _is_of(data, at, count, tree) else None


def _is_of(data: bytes, at: int, count: int, tree: str) -> bool:
    """Returns whether what follows the files says that they are those of *tree*, and nothing unknown."""
    head, is_same = b"\0%d " % count, False
    while at < len(data) - WIDTH:
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        if kind not in KNOWN:
            return False
        if kind == b"TREE":
            end = data.index(b"\n", at + 8)
            is_same = data.startswith(head, at + 8) and data[end + 1 : end + 1 + WIDTH].hex() == tree
        at += 8 + size
    return is_same and at == len(data) - WIDTH


def _is_all(root: bytes, files: Found, written: int) -> bool:
    """Returns whether the files are there as they were, and nothing else is."""
    left, folders = len(files), [b""]
    for folder in folders:
        with os.scandir(root + b"/" + folder) as entries:
            for entry in entries:
                name = folder + entry.name
                known = files.get(name)
                if known is not None:
                    there = entry.stat(follow_symlinks=False)
                    if not _is_same(there, known[0]):
                        return False
                    if there.st_mtime_ns >= written and _blob(entry.path, there) != known[1]:
                        return False
                    left -= 1
                elif entry.is_dir(follow_symlinks=False) and entry.name != b".git":
                    folders.append(name + b"/")
                elif name != b".git":
                    return False
    return left == 0


def _is_same(there: os.stat_result, told: Told) -> bool:
    seen = (
        *(number & MASK for number in divmod(there.st_ctime_ns, BILLION)),
        *(number & MASK for number in divmod(there.st_mtime_ns, BILLION)),
        there.st_ino & MASK,
        there.st_uid & MASK,
        there.st_gid & MASK,
        there.st_size & MASK,
    )
    is_alike = stat.S_IFMT(there.st_mode) == stat.S_IFMT(told[6]) and (
        stat.S_ISLNK(there.st_mode) or not (there.st_mode ^ told[6]) & stat.S_IXUSR
    )
    return is_alike and seen == (*told[:4], told[5], *told[7:10])


def _blob(path: bytes, there: os.stat_result) -> bytes:
    """Returns what git calls the bytes of a file: in the moment when git looked it may have got others."""
    if there.st_size > LARGE:
        return b""
    if stat.S_ISLNK(there.st_mode):
        data = os.readlink(path)
    else:
        with open(path, "rb") as file:
            data = file.read(LARGE)
    digest: bytes = sha1(b"blob %d\0" % len(data) + data).digest()  # noqa: S324 - as git has it
    return digest
