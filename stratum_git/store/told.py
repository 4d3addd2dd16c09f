"""What was told of flows, so that it is not worked out again: a file that may be deleted any time.

A commit says the same of its flow for ever, so what is in there is either right or not asked for. Neither
``pathlib`` nor ``dataclasses`` is loaded: who looks it up has no time for more.
"""

from __future__ import annotations

import os

from stratum_git import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FORM = f"1/{__version__}"
"""Changes with the words in which a flow is told: the number, where the version does not."""
LARGEST = 4 * 1024 * 1024
"""Bytes of the file; what is told of one flow may be as long."""
MANY = 16
"""Flows in it: those that are looked at again and again are few."""


def known_words(common_dir: str, tip: str) -> str | None:
    """Returns what was told of a flow whose last event is the commit *tip*; ``None`` where nobody knows."""
    return next((words.decode("ascii") for one, words in _entries(common_dir) if one == tip), None)


def remember_words(common_dir: str, tip: str, words: str) -> None:
    """Remembers what is told of that flow, and of those asked for before as many as there is room for."""
    said = words.encode("ascii")
    parts, size, count = [_entry(tip, said)], len(said), 1
    for one, old in _entries(common_dir):
        size, count = size + len(old), count + (one != tip)
        if one != tip and size <= LARGEST and count <= MANY:
            parts.append(_entry(one, old))
    path = _path(common_dir)
    temporary = f"{path}-{os.urandom(8).hex()}"
    if len(said) > LARGEST:
        return
    # Whoever may not write here does without: it is a matter of time only.
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(b"".join(parts))
        os.replace(temporary, path)
    except OSError:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def forget_words(common_dir: str) -> None:
    """Forgets all of it: some of these flows are deleted."""
    try:
        os.unlink(_path(common_dir))
    except FileNotFoundError:
        return


def _entries(common_dir: str) -> Iterator[tuple[str, bytes]]:
    """Yields the commits and what was told of them, up to what is not whole."""
    try:
        with open(_path(common_dir), "rb") as file:
            data = file.read(2 * LARGEST)
    except OSError:
        return
    at = 0
    while (end := data.find(b"\n", at)) > 0:
        row = data[at:end].split(b" ")
        if len(row) != 3 or row[0] != FORM.encode() or not row[2].isdigit():
            return
        at, size = end + 1, int(row[2])
        words, at = data[at : at + size], at + size + 1
        if len(words) != size or data[at - 1 : at] != b"\n" or not words.isascii():
            return
        yield row[1].decode("ascii", "replace"), words


def _entry(tip: str, words: bytes) -> bytes:
    return f"{FORM} {tip} {len(words)}\n".encode() + words + b"\n"


def _path(common_dir: str) -> str:
    return os.path.join(common_dir, "stratum", "told")
