"""Refs as files: read without starting git, where they are files of the form that git has always had.

Those that have files of their own moved lately; the others are in ``packed-refs``, which is written anew as a
whole. So whoever has read that once need not read it again until it is another file. Neither ``pathlib`` nor
``dataclasses`` is loaded: some that read have hardly any time.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratum_git.model.ids import Oid, RefName
else:
    Oid = RefName = str

DIGITS = b"0123456789abcdef"
UNNAMED = frozenset({*map(chr, range(33)), *"~^:?*[\\\x7f"})
"""What is in no name of a ref."""
Stamp = tuple[int, int, int]
"""What tells one ``packed-refs`` from another; zeros when there is none."""


def loose_refs(common_dir: str, prefix: str, *, deep: bool = False) -> dict[RefName, Oid] | None:
    """Returns the refs right below *prefix*, which ends in a slash, that have files of their own.

    With *deep* also those in folders there. ``None`` where git has to be asked: they are no files here, or
    one of them is no plain ref.
    """
    if os.path.exists(os.path.join(common_dir, "reftable")):
        return None
    found: dict[RefName, Oid] = {}
    folders = [prefix]
    try:
        for folder in folders:
            folders += _in_folder(common_dir, folder, found, deep=deep)
    except (OSError, ValueError):
        return None
    return found


def packed_refs(common_dir: str, prefix: str) -> tuple[dict[RefName, Oid], Stamp]:
    """Returns the refs below *prefix* that are packed, and what tells this file from a later one."""
    try:
        with open(os.path.join(common_dir, "packed-refs"), "rb") as file:
            stamp, data = _stamp(os.fstat(file.fileno())), file.read()
    except FileNotFoundError:
        return {}, (0, 0, 0)
    mark = b" " + os.fsencode(prefix)
    if mark not in data:
        return {}, stamp
    rows = (line.split(b" ", 1) for line in data.split(b"\n") if mark in line)
    return {RefName(os.fsdecode(ref)): Oid(oid.decode("ascii")) for oid, ref in rows if is_oid(oid)}, stamp


def packed_stamp(common_dir: str) -> Stamp:
    """Returns what tells the present ``packed-refs`` from others."""
    try:
        return _stamp(os.stat(os.path.join(common_dir, "packed-refs")))
    except FileNotFoundError:
        return 0, 0, 0


def loose_count(common_dir: str, prefix: str) -> int:
    """Returns how many refs right below *prefix* have files of their own, about."""
    try:
        return sum(1 for _ in os.scandir(os.path.join(common_dir, prefix)))
    except OSError:
        return 0


def is_oid(text: bytes) -> bool:
    """Returns whether *text* is the name of an object: a pattern takes longer to be made."""
    return len(text) in {40, 64} and not text.strip(DIGITS)


def is_plain_name(name: str) -> bool:
    """Returns whether git would make a ref of this name: others that lie there it passes over, or refuses."""
    parts = name.split("/")
    return (
        UNNAMED.isdisjoint(name)
        and not any(part.startswith(".") or part.endswith(".lock") or not part for part in parts)
        and ".." not in name
        and "@{" not in name
        and not name.endswith(".")
    )


def _in_folder(common_dir: str, prefix: str, found: dict[RefName, Oid], *, deep: bool) -> list[str]:
    """Adds the refs of a folder to *found* and returns its folders; raises ValueError for what is no ref."""
    inner: list[str] = []
    try:
        entries = sorted(os.scandir(os.path.join(common_dir, prefix)), key=lambda entry: entry.name)
    except FileNotFoundError:
        return inner
    for entry in entries:
        if entry.name.endswith(".lock"):
            continue
        if deep and entry.is_dir(follow_symlinks=False):
            inner.append(f"{prefix}{entry.name}/")
            continue
        try:
            with open(entry.path, "rb") as file:
                text = file.read().removesuffix(b"\n")
        except FileNotFoundError:
            # It was packed, or deleted, just now: before that, it was written to the packed ones.
            continue
        if not is_oid(text):
            raise ValueError(prefix)
        found[RefName(prefix + entry.name)] = Oid(text.decode("ascii"))
    return inner


def _stamp(there: os.stat_result) -> Stamp:
    return there.st_ino, there.st_mtime_ns, there.st_size
