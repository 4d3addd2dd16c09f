"""Which files a pattern of ``files_owned`` stands for.

A pattern is a file, a folder (everything beneath it), or a glob in which ``*`` and ``?`` stay within one
part and ``**`` stands for any number of parts.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath


def refusal_of_pattern(pattern: str) -> str | None:
    """Returns why *pattern* cannot be owned, or ``None``."""
    if not pattern or not _parts(pattern):
        return "it is empty"
    if "\0" in pattern:
        return "it has a NUL in it"
    if pattern.startswith("/"):
        return "it is absolute; paths are relative to the repository"
    if ".." in pattern.split("/"):
        return "it leaves the repository"
    if _parts(pattern)[0].lower() == ".git":
        return "it is inside of .git"
    return None


def covers(pattern: str, path: PurePosixPath) -> bool:
    """Returns whether the file *path* is one that *pattern* stands for."""
    return _matches(_parts(pattern), path.parts)


def overlap(first: str, second: str) -> bool:
    """Returns whether two patterns may stand for a common file. With globs in both it errs towards yes."""
    return _meet(_parts(first), _parts(second))


def _parts(pattern: str) -> tuple[str, ...]:
    return tuple(part for part in pattern.split("/") if part not in {"", "."})


def _is_glob(part: str) -> bool:
    return any(c in part for c in "*?[")


def _matches(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Returns whether a prefix of *path* matches: what a pattern matches, it owns with all beneath.

    One row of a table per part of the pattern, so the time is bounded by the product of both lengths.
    """
    reachable = {0}
    for part in pattern:
        if part == "**":
            reachable = set(range(min(reachable), len(path) + 1)) if reachable else set()
        else:
            reachable = {i + 1 for i in reachable if i < len(path) and _same(part, path[i])}
    return bool(reachable)


def _same(part: str, name: str) -> bool:
    return fnmatchcase(name, part) if _is_glob(part) else part == name


def _meet(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    reachable = {(0, 0)}
    seen: set[tuple[int, int]] = set()
    while reachable:
        i, j = reachable.pop()
        if i == len(first) or j == len(second):
            return True
        if (i, j) in seen:
            continue
        seen.add((i, j))
        a, b = first[i], second[j]
        if a == "**":
            reachable |= {(i + 1, j), (i, j + 1)}
        if b == "**":
            reachable |= {(i, j + 1), (i + 1, j)}
        if "**" not in {a, b} and _may_meet(a, b):
            reachable.add((i + 1, j + 1))
    return False


def _may_meet(a: str, b: str) -> bool:
    if _is_glob(a) and _is_glob(b):
        return True
    return fnmatchcase(b, a) if _is_glob(a) else _same(b, a)
