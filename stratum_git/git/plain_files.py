"""Objects of files that git takes as they lie there: made here, without a git.

That is a file, or a link, of which no attribute and no setting makes anything else. Line ends and ``$Id$``
are converted only where there are any; filters and encodings only where attributes may name them. What is
not certain is left out, and git is asked about it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from stratum_git.git.mini_index import attributes_above, taken_in
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.rules import ATTRIBUTES, PLAIN, Surroundings, Unclear, folders_above
from stratum_git.git.settings import Settings
from stratum_git.git.tree_reader import Entry

OWN = re.compile(r"(?:^|/)\.git(?![a-z])", re.ASCII | re.IGNORECASE)
"""Names that git refuses, or that some disk may take for such."""
READ = ".git"
"""How the names of files begin that git reads, and does not want as links."""
CONVERTED = re.compile(rb"\r\n|\$Id")
LARGEST = 4 << 20
"""Bytes of a file that is read here."""
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
LINK, FILE, PROGRAM = "120000", "100644", "100755"


def taken(
    slot: Path,
    folder: Path,
    known: Mapping[str, Entry | None],
    indexed: Callable[[str], Entry | None],
    settings: Settings,
    *,
    writer: ObjectWriter,
    env: Mapping[str, str] | None = None,
) -> dict[str, Entry | None]:
    """Returns what the index would have of the files in *known* once they were added; no git where it can be.

    The rest is as for :func:`taken_in`, which tells what it raises, and :func:`taken_plainly`.
    """
    plain = taken_plainly(slot, known, indexed, settings, writer)
    rest = {path: entry for path, entry in known.items() if path not in plain}
    width = len(writer.repo.zero) // 2
    return {**plain, **taken_in(slot, folder, rest, attributes_above(rest, indexed), width, env)}


def taken_plainly(
    slot: Path,
    paths: Iterable[str],
    indexed: Callable[[str], Entry | None],
    settings: Settings,
    writer: ObjectWriter,
) -> dict[str, Entry]:
    """Returns what the index would have of those of *paths* that git certainly takes as they are.

    *indexed* tells what it has now, of which ``.gitattributes`` count where there is no file. The objects are
    written. Raises OSError.
    """
    if not settings.has_all_modes or writer.repo.shared_permissions:
        return {}
    around = Surroundings(str(slot), ATTRIBUTES, tuple(map(str, settings.attributes)))
    found: dict[str, Entry] = {}
    sure: dict[str, bool] = {}
    for path in paths:
        try:
            is_plain = PLAIN.fullmatch(path) and not OWN.search(path) and around.say_nothing(path)
            if is_plain and all(_is_there(around, folder, indexed, sure) for folder in folders_above(path)):
                entry = _entry(f"{slot}/{path}", writer)
                if entry is not None:
                    found[path] = entry
        except Unclear:
            continue
    return found


def _is_there(
    around: Surroundings, folder: str, indexed: Callable[[str], Entry | None], sure: dict[str, bool]
) -> bool:
    """Returns whether the attributes of a folder are those in its file, and not only in the index."""
    if folder not in sure:
        sure[folder] = around.has_rules(folder) or indexed(f"{folder}{ATTRIBUTES}") is None
    return sure[folder]


def _entry(place: str, writer: ObjectWriter) -> Entry | None:
    """Returns what a file comes to; ``None`` where git may make something else of it."""
    try:
        handle = os.open(place, OPEN)
    except OSError:
        return _link(place, writer)
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > LARGEST:
            return None
        data = os.read(handle, LARGEST + 1)
    finally:
        os.close(handle)
    if len(data) != facts.st_size or CONVERTED.search(data):
        return None
    return PROGRAM if facts.st_mode & stat.S_IXUSR else FILE, writer.blob(data)


def _link(place: str, writer: ObjectWriter) -> Entry | None:
    """Returns what a link comes to, ``None`` for what is none."""
    try:
        facts, target = os.lstat(place), os.fsencode(Path(place).readlink())
    except OSError:
        return None
    is_whole = stat.S_ISLNK(facts.st_mode) and len(target) == facts.st_size
    is_read = place.rpartition("/")[2].lower().startswith(READ)
    return (LINK, writer.blob(target)) if is_whole and not is_read else None
