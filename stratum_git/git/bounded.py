"""Reads objects that somebody else may have made: a few bytes of a pack can stand for gigabytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from stratum_git.errors import HostError
from stratum_git.git.objects import Object
from stratum_git.git.process import Conversation
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid

AT_ONCE = 100
"""Names that are asked for before the answers are read: neither side ever waits for the other to read."""


def read_small_objects(repo: Repository, names: Sequence[str], limit: int) -> tuple[Object | None, ...]:
    """Returns the objects with these names; ``None`` for what is not there, or has more than *limit* bytes.

    One git process. Raises HostError when git gives up, as it does at an object that is damaged.
    """
    if not names:
        return ()
    asked = [os.fsencode(name if "\n" not in name and len(name) < 4096 else repo.zero) for name in names]
    git = repo.git.talk("cat-file", "--batch-command", "--buffer")
    try:
        found: list[Object | None] = []
        for start in range(0, len(asked), AT_ONCE):
            found += _read(git, asked[start : start + AT_ONCE], limit)
    finally:
        done = git.close()
    if done.code or len(found) < len(asked):
        raise HostError("git gave up reading objects", hint="see `git fsck`")
    return tuple(found)


def _read(git: Conversation, names: Sequence[bytes], limit: int) -> Iterator[Object | None]:
    git.send(b"".join(b"info %b\n" % name for name in names) + b"flush\n")
    heads = [git.line().split() for _ in names]
    sizes = [int(head[2]) if len(head) == 3 and head[2].isdigit() else limit + 1 for head in heads]
    for name, size in zip(names, sizes, strict=True):
        if size > limit:
            yield None
            continue
        head = git.ask_line(b"contents %b\nflush\n" % name).split()
        if len(head) != 3:
            raise HostError("git gave up reading objects", hint="see `git fsck`")
        yield Object(Oid(head[0].decode()), head[1].decode(), git.read(size + 1)[:size])
