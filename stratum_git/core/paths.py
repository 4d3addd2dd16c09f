"""Which files a pattern of ``files_owned`` stands for.

A pattern is a file, a folder (everything beneath it), or a glob in which ``*``, ``?`` and ``[..]`` stay
within one part of a path and ``**`` stands for any number of parts. A last part without ``*`` and ``?`` may
be the name of a folder, a slash at the end says that it is one. A part is also its own literal name, because
``[id]`` is a common name of a folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import takewhile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import PurePosixPath

LONGEST = 4096


def refusal_of_pattern(pattern: str) -> str | None:
    """Returns why *pattern* cannot be owned, or ``None``."""
    if not pattern.strip():
        return "it is empty"
    if "\0" in pattern:
        return "it has a NUL in it"
    if len(pattern) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if pattern.startswith("/"):
        return "it is absolute; paths are relative to the repository"
    if ".." in pattern.split("/"):
        return "it leaves the repository"
    if any(part.lower() == ".git" for part in _parts(pattern)):
        return "it is inside of .git"
    return None


def covers(pattern: str, path: PurePosixPath) -> bool:
    """Returns whether the file *path* is one that *pattern* stands for."""
    return _matches(_extended(pattern), path.parts)


def overlap(first: str, second: str) -> bool:
    """Returns whether two patterns may stand for a common file. With globs in both it errs towards yes."""
    return _meet(_extended(first), _extended(second))


def literal_head(pattern: str) -> tuple[str, ...]:
    """Returns the parts before the first glob: every path that *pattern* stands for begins with them."""
    parts = _parts(pattern)
    return parts[: next((i for i, part in enumerate(parts) if _is_glob(part)), len(parts))]


def _parts(pattern: str) -> tuple[str, ...]:
    return tuple(part for part in pattern.split("/") if part not in {"", "."})


def _extended(pattern: str) -> tuple[str, ...]:
    """Returns the parts, with a ``**`` where everything beneath is meant too."""
    parts = _parts(pattern)
    closed = bool(parts) and not pattern.endswith("/") and any(c in parts[-1] for c in "*?")
    return parts if closed else (*parts, "**")


def _is_glob(part: str) -> bool:
    return any(c in part for c in "*?[")


def _matches(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Returns whether all of *path* matches.

    ``reachable`` are the lengths of the beginnings of *path* that the parts so far match, so the time is
    bounded by the product of both lengths.
    """
    reachable = {0}
    for part in pattern:
        if part == "**":
            reachable = set(range(min(reachable), len(path) + 1)) if reachable else set()
        else:
            reachable = {i + 1 for i in reachable if i < len(path) and _same(part, path[i])}
    return len(path) in reachable


def _same(part: str, name: str) -> bool:
    # fnmatch writes its regular expressions so that they never backtrack into an earlier star.
    return part == name or (_is_glob(part) and fnmatchcase(name, part))


def _meet(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Returns whether some path may match both: a walk over the pairs of places that it can lead to."""
    todo = [(0, 0)]
    seen = set(todo)
    while todo:
        i, j = todo.pop()
        if i == len(first) and j == len(second):
            return True
        after = set(_moves(first, second, i, j)) - seen
        seen |= after
        todo += after
    return False


def _moves(first: tuple[str, ...], second: tuple[str, ...], i: int, j: int) -> list[tuple[int, int]]:
    a = first[i] if i < len(first) else None
    b = second[j] if j < len(second) else None
    moves = []
    if a == "**":
        moves += [(i + 1, j)] if b is None else [(i + 1, j), (i, j + 1)]
    if b == "**":
        moves += [(i, j + 1)] if a is None else [(i, j + 1), (i + 1, j)]
    if a is not None and b is not None and "**" not in {a, b} and _may_meet(a, b):
        moves.append((i + 1, j + 1))
    return moves


def _may_meet(a: str, b: str) -> bool:
    if not _is_glob(a) or not _is_glob(b):
        return _same(a, b) or _same(b, a)
    return _fit(_fixed(a), _fixed(b)) and _fit(_fixed(reversed(a)), _fixed(reversed(b)))


def _fit(a: str, b: str) -> bool:
    return a.startswith(b) or b.startswith(a)


def _fixed(part: Iterable[str]) -> str:
    """Returns what every name that a glob matches begins with; read backwards, what it ends with."""
    return "".join(takewhile(lambda c: c not in "*?[]", part))
