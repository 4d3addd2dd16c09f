"""The files of a commit, read as ``unaided.py`` reads objects; Undecided where that is not certain."""

from __future__ import annotations

from stratum_git.git.unaided import WIDTH, Unaided
from stratum_git.git.whereabouts import Undecided

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TREE = 16 * 1024 * 1024
"""Bytes of a tree, or of a commit."""
MANY = 100_000
"""Entries of all trees: a few small ones can stand for any number."""


def files_of(there: Unaided, commit: str) -> dict[str, str]:
    """Returns the blobs of a commit by their paths; raises Undecided where there is more than plain files."""
    found: dict[str, str] = {}
    todo, count = [("", there.tree(commit, TREE))], 0
    while todo:
        above, oid = todo.pop()
        for mode, name, entry in _entries(there.listing(oid, TREE)):
            count += 1
            if count > MANY:
                raise Undecided(f"{commit} has many files")
            if mode == "40000":
                todo.append((f"{above}{name}/", entry))
            elif mode == "100644":
                found[above + name] = entry
            else:
                raise Undecided(f"{above}{name} is no plain file")
    return found


def _entries(tree: bytes) -> Iterator[tuple[str, str, str]]:
    """Yields the mode, the name and the object of each entry."""
    at = 0
    while at < len(tree):
        end = tree.find(b"\0", at)
        mode, _, name = tree[at:end].partition(b" ")
        at = end + 1 + WIDTH
        if end < 0 or at > len(tree) or not name.isascii():
            raise Undecided("a tree is of another form")
        yield mode.decode("ascii", "replace"), name.decode("ascii"), tree[end + 1 : at].hex()
