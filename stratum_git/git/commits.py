"""What a commit says of itself, read from its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stratum_git.errors import HostError
from stratum_git.git.objects import Signature, read_objects
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass

_PERSON = re.compile(r"^(?P<name>.*?) ?<(?P<email>[^>]*)> (?P<at>-?\d+) (?P<tz>[+-]\d{4})$")


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: its tree, parents, author and message. Undecodable bytes are replaced."""

    oid: Oid
    tree: Oid
    parents: tuple[Oid, ...]
    author: Signature
    message: str


def commits_of(repo: Repository, oids: Iterable[Oid]) -> dict[Oid, Commit]:
    """Returns the commits with these ids, with one git process; raises HostError when one is missing."""
    asked = tuple(dict.fromkeys(oids))
    found = {}
    for oid, item in zip(asked, read_objects(repo, asked), strict=True):
        if item is None or item.type != "commit":
            raise HostError(f"the commit {oid} is not in the repository", hint="see `git fsck`")
        found[oid] = parse(oid, item.data)
    return found


def parse(oid: Oid, data: bytes) -> Commit:
    """Returns the commit whose object is *data*."""
    head, _, message = data.partition(b"\n\n")
    tree, parents, author = Oid(""), [], Signature("unknown", "", 0.0, "+0000")
    for line in head.decode("utf-8", "replace").split("\n"):
        key, _, value = line.partition(" ")
        if key == "tree":
            tree = Oid(value)
        elif key == "parent":
            parents.append(Oid(value))
        elif key == "author":
            author = _person(value)
    return Commit(oid, tree, tuple(parents), author, message.decode("utf-8", "replace"))


def _person(text: str) -> Signature:
    found = _PERSON.match(text)
    if found is None:
        return Signature("unknown", "", 0.0, "+0000")
    return Signature(found["name"], found["email"], float(found["at"]), found["tz"])
