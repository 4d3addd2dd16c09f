"""Whether what is to change in a checkout is as its index has it, by a look at these paths alone.

Git would look at every file. Here the index is read in process, and a file counts as untouched when the file
system says of it what it said when git looked last, to the nanosecond, and the index was written after that.
"No" means that it takes git to say: so do marks, links to other repositories, whatever lies where something
new is to be, and folders that hold nothing which the index knows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from stratum_git.git.diff import FOLDER, Change
from stratum_git.git.index_table import MASK, Stat, Table, table_of

FILES = frozenset({"100644", "100755", "120000"})
BILLION = 10**9


def is_untouched(checkout: Path, index: Path, changes: Sequence[Change]) -> bool:
    """Returns whether nothing in *checkout* differs from its index, and from the old side, at *changes*.

    ``False`` says nothing.
    """
    if not changes or any(FOLDER in {c.old_mode, c.new_mode} for c in changes):
        return False
    names = {os.fsencode(change.path) for change in changes}
    folders = folders_above(change.path for change in changes)
    above = {os.fsencode(folder) for folder in folders}
    table = table_of(index, len(changes[0].old) // 2, names | above)
    if table is None or not above.isdisjoint(table.rows):
        return False
    # A link in the place of a folder may lead to the very same files.
    if not all(_is_open(checkout, folder, table) for folder in folders):
        return False
    if not all(_is_room(checkout, change, table) for change in changes if change.status == "A"):
        return False
    return all(_is_same(checkout, change, table) for change in changes if change.status != "A")


def folders_above(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the folders that files are in, and those that these are in, but for the top."""
    found: dict[str, None] = {}
    for name in names:
        above = name.rpartition("/")[0]
        while above and above not in found:
            found[above] = None
            above = above.rpartition("/")[0]
    return tuple(found)


def _is_same(checkout: Path, change: Change, table: Table) -> bool:
    row = table.rows.get(os.fsencode(change.path))
    if row is None or not row.is_plain or (row.mode, row.oid) != (change.old_mode, change.old):
        return False
    if not {row.mode} <= FILES or change.new_mode not in FILES | {"000000"}:
        return False
    try:
        found = os.lstat(f"{checkout}/{change.path}")
    except OSError:
        return False
    is_link = row.mode == "120000"
    if is_link is not stat.S_ISLNK(found.st_mode) or not (is_link or stat.S_ISREG(found.st_mode)):
        return False
    # What was changed in the moment when git looked may have the same times.
    return found.st_mtime_ns < table.written and row.stat == _seen(found)


def _seen(found: os.stat_result) -> Stat:
    return Stat(
        (found.st_ctime_ns // BILLION & MASK, found.st_ctime_ns % BILLION),
        (found.st_mtime_ns // BILLION & MASK, found.st_mtime_ns % BILLION),
        found.st_ino & MASK,
        (found.st_uid & MASK, found.st_gid & MASK),
        found.st_size & MASK,
    )


def _is_room(checkout: Path, change: Change, table: Table) -> bool:
    """Returns whether nothing lies where a file is new."""
    if change.new_mode not in FILES or os.fsencode(change.path) in table.rows:
        return False
    return not os.path.lexists(f"{checkout}/{change.path}")


def _is_open(checkout: Path, folder: str, table: Table) -> bool:
    """Returns whether *folder* is one of the index's that has no other repository in it, or is not there."""
    place = f"{checkout}/{folder}"
    try:
        mode = os.lstat(place).st_mode
    except FileNotFoundError:
        return True
    except OSError:
        return False
    if not stat.S_ISDIR(mode) or os.path.lexists(f"{place}/.git"):
        return False
    # What is ignored as a whole is told of as a whole.
    return table.has_below(os.fsencode(folder))
