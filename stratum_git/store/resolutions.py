"""How conflicts were resolved, remembered by exactly what conflicted: the three sides of one path.

``refs/stratum/resolutions`` has a commit for each addition, so its history says who resolved what, and when.
In its tree a resolution is a folder, named by the digest of its three sides: ``resolution.json`` says what is
known of it, ``content`` is the file, which git therefore keeps; without ``content`` the path was deleted.
It is used only for the very same three sides, and never for anything like them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from stratum_git.errors import HostError
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.refs import LostRace, RefSession, RefUpdate, tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import Entry, TreeReader
from stratum_git.model.ids import Json, Oid, RefName

REF = RefName("refs/stratum/resolutions")
FACTS, CONTENT = "resolution.json", "content"
FILE, TREE = "100644", "040000"
LARGEST = 64 * 1024
"""Bytes of what is known of a resolution."""
TRIES = 100
"""Races for the ref that are lost in a row before that is a failure."""
SHORTEST = 6
"""Digits by which a resolution may be named."""

Side: TypeAlias = Entry | None
"""A mode of six digits and an object; ``None`` where a side does not have the path."""
Rung: TypeAlias = Literal["agent", "person"]


@dataclass(frozen=True, slots=True)
class Triple:
    """What conflicted: a path as it was, as it had become on the target, and in the result."""

    base: Side
    ours: Side
    theirs: Side

    @property
    def digest(self) -> str:
        """Returns the name of these three sides, 64 digits."""
        rows = ("absent" if side is None else f"{side[0]} {side[1]}" for side in self.sides)
        return hashlib.sha256("\n".join(("resolution 1", *rows, "")).encode()).hexdigest()

    @property
    def sides(self) -> tuple[Side, Side, Side]:
        """Returns base, ours and theirs."""
        return self.base, self.ours, self.theirs


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who resolved something (*rung* says what he is), for which task, and when: seconds since the epoch."""

    rung: Rung
    by: str
    flow: str
    step: str
    task: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a conflict came to. ``path`` is where that was; ``result`` is ``None`` when it was deleted."""

    triple: Triple
    result: Side
    path: str
    whence: Provenance


@dataclass(frozen=True, slots=True)
class Resolutions:
    """The resolutions that a repository remembers."""

    repo: Repository
    trees: TreeReader

    def find(self, triple: Triple) -> Resolution | None:
        """Returns the resolution of exactly these three sides; none where it cannot be read."""
        tip = tip_nowait(self.repo, REF)
        with suppress(HostError):
            return None if tip is None else self._at(self.trees.root(tip), triple.digest)
        return None

    def every(self) -> tuple[Resolution, ...]:
        """Returns all that is remembered, oldest first; what cannot be read is left out."""
        tip = tip_nowait(self.repo, REF)
        root = None if tip is None else self.trees.root(tip)
        found = () if root is None else (self._at(root, digest) for digest in self._digests(root))
        known = (one for one in found if one is not None)
        return tuple(sorted(known, key=lambda one: (one.whence.at, one.path, one.triple.digest)))

    def add(self, writer: ObjectWriter, who: Signature, resolutions: Sequence[Resolution]) -> None:
        """Remembers *resolutions*, each instead of what was known of the same three sides."""
        folders = {one.triple.digest: (TREE, _folder(writer, one)) for one in resolutions}
        if folders:
            self._change(writer, who, lambda _: folders, _added(resolutions))

    def forget(self, writer: ObjectWriter, who: Signature, name: str) -> tuple[Resolution, ...]:
        """Forgets what has this path, or a digest that begins so; returns what that was."""
        found = tuple(one for one in self.every() if _is_called(one, name))
        if found:
            gone: dict[str, Side] = {one.triple.digest: None for one in found}
            words = ", ".join(f"{_line(one.path)} ({one.triple.digest[:12]})" for one in found)
            self._change(writer, who, lambda _: gone, f"Forget {words}\n")
        return found

    def _at(self, root: Oid, digest: str) -> Resolution | None:
        folder = _below(self.trees, root, digest[:2], digest[2:])
        facts = None if folder is None else self.trees.entries(folder).get(FACTS)
        if folder is None or facts is None:
            return None
        stored = read_small_objects(self.repo, [facts[1]], LARGEST)[0]
        found = None if stored is None else decoded(stored.data)
        kept = self.trees.entries(folder).get(CONTENT)
        # It is what it is called, or it is nothing: a file that was put there proves nothing.
        is_true = found is not None and found.triple.digest == digest and found.result == kept
        return found if is_true else None

    def _digests(self, root: Oid) -> Iterator[str]:
        for start, (mode, tree) in self.trees.entries(root).items():
            if mode == TREE:
                yield from (start + rest for rest in self.trees.entries(tree))

    def _change(
        self,
        writer: ObjectWriter,
        who: Signature,
        work: Callable[[Oid | None], Mapping[str, Side]],
        message: str,
    ) -> None:
        with RefSession(self.repo, "stratum-git", durable=writer.durable) as session:
            for _ in range(TRIES):
                tip = tip_nowait(self.repo, REF)
                tree = self._written(writer, tip, work(tip))
                commit = writer.commit(tree, () if tip is None else (tip,), message, who, who)
                answer = session.transact([RefUpdate(REF, commit, tip)], writer.sync)
                if not isinstance(answer, LostRace):
                    return
        raise HostError(f"{REF} was moved by others {TRIES} times in a row", hint="try again")

    def _written(self, writer: ObjectWriter, tip: Oid | None, folders: Mapping[str, Side]) -> Oid:
        top = {} if tip is None else dict(self.trees.entries(self.trees.root(tip)))
        for start in {digest[:2] for digest in folders}:
            inner = dict(self.trees.entries(top[start][1])) if start in top else {}
            for digest, folder in folders.items():
                if digest[:2] == start and folder is not None:
                    inner[digest[2:]] = folder
                elif digest[:2] == start:
                    inner.pop(digest[2:], None)
            top.pop(start, None)
            if inner:
                top[start] = (TREE, writer.tree(inner))
        return writer.tree(top)


def encoded(one: Resolution) -> bytes:
    """Returns what is known of a resolution, as it is stored."""
    base, ours, theirs = map(_side_row, one.triple.sides)
    whence = one.whence
    row: dict[str, Json] = {
        "version": 1, "base": base, "ours": ours, "theirs": theirs, "result": _side_row(one.result),
        "path": one.path, "rung": whence.rung, "by": whence.by, "flow": whence.flow, "step": whence.step,
        "task": whence.task, "at": whence.at,
    }  # fmt: skip
    # In ASCII: the bytes of a path that are no UTF-8 have no other form in JSON.
    return json.dumps(row, indent=1).encode("ascii") + b"\n"


def decoded(data: bytes) -> Resolution | None:
    """Returns the resolution that was stored as *data*; ``None`` for what is none."""
    try:
        row = json.loads(data)
        triple = Triple(_side(row["base"]), _side(row["ours"]), _side(row["theirs"]))
        rung, words = row["rung"], [row[key] for key in ("path", "by", "flow", "step")]
        task, at = row["task"], float(row["at"])
        if rung not in {"agent", "person"} or not all(isinstance(word, str) for word in words):
            return None
        if not isinstance(task, str | None):
            return None
        whence = Provenance(cast("Rung", rung), words[1], words[2], words[3], task, at)
        return Resolution(triple, _side(row["result"]), words[0], whence)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


def _side_row(side: Side) -> Json:
    return None if side is None else [*side]


def _side(row: Json) -> Side:
    if row is None:
        return None
    if not isinstance(row, list) or not all(isinstance(word, str) for word in row):
        raise TypeError("a side is a mode and an object")
    mode, oid = cast("list[str]", row)
    return mode, Oid(oid)


def _folder(writer: ObjectWriter, one: Resolution) -> Oid:
    content = {} if one.result is None else {CONTENT: one.result}
    return writer.tree({FACTS: (FILE, writer.blob(encoded(one))), **content})


def _below(trees: TreeReader, tree: Oid, *names: str) -> Oid | None:
    for name in names:
        found = trees.entries(tree).get(name)
        if found is None or found[0] != TREE:
            return None
        tree = found[1]
    return tree


def _added(resolutions: Iterable[Resolution]) -> str:
    rows = [(one, _line(one.path)) for one in resolutions]
    paths, whence = ", ".join(path for _, path in rows), rows[0][0].whence
    task = () if whence.task is None else (("Task", whence.task),)
    facts = (("Flow", whence.flow), ("Step", whence.step), *task, ("Rung", whence.rung), ("By", whence.by))
    trailers = "".join(f"Stratum-{key}: {_line(value)}\n" for key, value in facts)
    digests = "".join(f"{one.triple.digest} {path}\n" for one, path in rows)
    return f"Remember {paths}\n\n{digests}\n{trailers}"


def _is_called(one: Resolution, name: str) -> bool:
    is_digest = len(name) >= SHORTEST and one.triple.digest.startswith(name)
    return is_digest or one.path == name


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
