"""What git makes of a few files, however many there are beside them.

Filters, line ends, links, the bits of modes: only git knows all that ``git add`` does with a file. It is
asked with an index that has what the real one has of these files, and of the ``.gitattributes`` above them,
and nothing else. What depends on more than that is left to ``git add``.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from stratum_git.git.index_file import read_tiny, write_tiny
from stratum_git.git.process import Git
from stratum_git.git.tree_reader import Entry

NAME = ".gitattributes"
FILES = frozenset({"100644", "100755", "120000"})
CONFIG = ("core.excludesFile=/dev/null", "core.safecrlf=false", "core.splitIndex=false")
ASKED = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")


def taken_in(
    slot: Path,
    folder: Path,
    known: Mapping[str, Entry | None],
    attributes: Mapping[str, Entry],
    width: int,
    env: Mapping[str, str] | None = None,
) -> dict[str, Entry | None]:
    """Returns what the index would have of the files in *known* once they were added, as objects now there.

    *known* is what it has of them now, in the order in which ``git add`` comes to them. *attributes* are its
    ``.gitattributes`` in the folders above. The tiny index lies in *folder* meanwhile. *width* are the bytes
    of an object's id. Raises GitFailed or UnreadIndex where git has to see more than these.
    """
    if not known:
        return {}
    tiny = folder / f"index-{secrets.token_hex(4)}"
    stdin = b"".join(os.fsencode(path) + b"\0" for path in known)
    try:
        write_tiny(tiny, {**attributes, **{path: entry for path, entry in known.items() if entry}}, width)
        Git(slot).run(*ASKED, stdin=stdin, config=CONFIG, env={**(env or {}), "GIT_INDEX_FILE": str(tiny)})
        found = read_tiny(tiny, width)
    finally:
        tiny.unlink(missing_ok=True)
    return {path: found.get(path) for path in known}


def attributes_above(paths: Iterable[str], entry: Callable[[str], Entry | None]) -> dict[str, Entry]:
    """Returns the ``.gitattributes`` that *entry* tells of in all folders above *paths*."""
    folders = {""}
    for path in paths:
        end = path.rfind("/")
        while end > 0 and path[: end + 1] not in folders:
            folders.add(path[: end + 1])
            end = path.rfind("/", 0, end)
    named = ((f"{folder}{NAME}", entry(f"{folder}{NAME}")) for folder in folders)
    return {path: found for path, found in named if found is not None and found[0] in FILES}


def is_regular(path: Path) -> bool:
    """Returns whether a file is there that is no link: what else may be called so, git does not read."""
    return path.is_file() and not path.is_symlink()
