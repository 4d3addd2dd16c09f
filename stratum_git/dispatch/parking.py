"""A conflict in words: what a commit that parks one says, and what is read out of it again.

::

    Conflict: TITLE

    what git says, one line for each conflict

    MODE OBJECT STAGE<tab>PATH            of each side of each path; "no stages" where there are none

    Stratum-...: VALUE                    among them Stratum-Mended and Stratum-Tried

The paragraph of stages is the last but the trailers, and its paths are quoted where they could be taken for
anything else: whoever names a file cannot have it say what it does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from stratum_git.git.merge import Conflicted, Stage
from stratum_git.model.ids import Oid
from stratum_git.model.messages import Mend, Rung
from stratum_git.store.resolutions import Side, Triple

Kind: TypeAlias = Literal["content", "add/add", "modify/delete", "other"]

NO_STAGES = "no stages"
STAGE = re.compile(r"(\d{6}) ([0-9a-f]{40}|[0-9a-f]{64}) ([123])\t(.+)")
MEND = re.compile(r'("(?:[^"\\]|\\.)*"|\S+) \((\w+)(?: (.*))?\)')
PLAIN = re.compile(r'[^\s"()\x00-\x1f\x7f][^\s"()\x00-\x1f\x7f]*')
REGULAR = frozenset({"100644", "100755"})


@dataclass(frozen=True, slots=True)
class Case:
    """A path that conflicts by itself: no rename and no folder has to do with it."""

    path: str
    kind: Kind
    triple: Triple


@dataclass(frozen=True, slots=True)
class Told:
    """What the commit of a parked conflict says."""

    title: str
    messages: str
    stages: tuple[Stage, ...]
    mends: tuple[Mend, ...]
    tried: tuple[Mend, ...]
    trailers: Mapping[str, str]


def sides_of(stages: Iterable[Stage]) -> dict[str, Triple]:
    """Returns the three sides of each path."""
    found: dict[str, dict[int, Side]] = {}
    for stage in stages:
        found.setdefault(stage.path, {})[stage.stage] = (stage.mode, stage.oid)
    return {path: Triple(at.get(1), at.get(2), at.get(3)) for path, at in found.items()}


def cases_of(stages: Iterable[Stage], messages: str) -> tuple[Case, ...]:
    """Returns the paths that conflict by themselves, by what git says of them."""
    lines = messages.split("\n")
    cases = []
    for path, triple in sides_of(stages).items():
        own = {line: kind for line in lines if (kind := kind_of(line, path)) is not None}
        # A short name is in many a sentence by chance: then a conflict stays one, which is safe.
        others = any(path in line for line in lines if line not in own)
        kinds = set(own.values()) - {"other"}
        if len(kinds) == 1 and not others:
            cases.append(Case(path, kinds.pop(), triple))
    return tuple(cases)


def kind_of(line: str, path: str) -> Kind | None:
    """Returns which conflict of *path* a line tells of; ``None`` where it is not about it alone."""
    if line == f"CONFLICT (content): Merge conflict in {path}":
        return "content"
    if line == f"CONFLICT (add/add): Merge conflict in {path}":
        return "add/add"
    if line.startswith(f"CONFLICT (modify/delete): {path} deleted in "):
        return "modify/delete"
    if line.startswith(f"warning: Cannot merge binary files: {path} ("):
        return "other"
    return None


def speaks_of(line: str, path: str) -> bool:
    """Returns whether a line of git's is about *path*, and not about one that only ends like it."""
    return re.search(rf"(?:^|[\s'\"]){re.escape(path)}(?=$|[\s.,;:~'\"])", line) is not None


def without(messages: str, paths: Iterable[str]) -> str:
    """Returns what git says of anything but *paths*."""
    known = tuple(paths)
    lines = (line for line in messages.split("\n") if line)
    return "\n".join(line for line in lines if all(kind_of(line, path) is None for path in known))


def message_of(title: str, conflict: Conflicted, trailers: str) -> str:
    """Returns the message of the commit that parks a conflict; *trailers* are lines of their own."""
    rows = (f"{s.mode} {s.oid} {s.stage}\t{quoted(s.path)}" for s in conflict.stages)
    stages = "\n".join(rows) or NO_STAGES
    notes = "".join(f"{key}: {value}\n" for key, value in notes_of(conflict.mends, conflict.tried))
    said = conflict.messages.strip().encode("utf-8", "backslashreplace").decode()
    return f"Conflict: {title}\n\n{said}\n\n{stages}\n\n{trailers}{notes}"


def notes_of(mends: Sequence[Mend], tried: Sequence[Mend] = ()) -> tuple[tuple[str, str], ...]:
    """Returns the trailers that say which files were merged by whom, and who tried in vain."""
    return (
        *(("Stratum-Mended", _mend(one)) for one in mends),
        *(("Stratum-Tried", _mend(one)) for one in tried),
    )


def told_by(message: str) -> Told:
    """Returns what the message of a parked conflict says; an old one, or none of ours, says less."""
    head, *parts = message.strip("\n").split("\n\n")
    trailers = _trailers(parts.pop()) if parts else ()
    stages = _stages(parts[-1]) if parts else None
    messages = parts[:-1] if stages is not None else parts
    return Told(
        title=head.partition("\n")[0].removeprefix("Conflict: "),
        messages="\n\n".join(messages),
        stages=stages or (),
        mends=_mends(trailers, "Stratum-Mended"),
        tried=_mends(trailers, "Stratum-Tried"),
        trailers=dict(trailers),
    )


def quoted(path: str) -> str:
    """Returns a path as it is, or in quotes where it could be taken for something else."""
    is_plain = PLAIN.fullmatch(path) and path.isprintable()
    return path if is_plain else json.dumps(path)


def unquoted(text: str) -> str:
    """Returns the path that was written so."""
    if not text.startswith('"'):
        return text
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, str) else text


def _mend(one: Mend) -> str:
    by = " ".join("".join(c if c.isprintable() else " " for c in one.by).split())
    return f"{quoted(one.path)} ({one.rung}{f' {by}' if by else ''})"


def _mends(trailers: Iterable[tuple[str, str]], key: str) -> tuple[Mend, ...]:
    found = (MEND.fullmatch(value) for name, value in trailers if name == key)
    return tuple(
        Mend(unquoted(one[1]), cast("Rung", one[2]), one[3] or "")
        for one in found
        if one is not None and one[2] in get_args(Rung)
    )


def _trailers(part: str) -> tuple[tuple[str, str], ...]:
    rows = (line.partition(": ") for line in part.split("\n"))
    return tuple((key, value) for key, colon, value in rows if colon)


def _stages(part: str) -> tuple[Stage, ...] | None:
    if part == NO_STAGES:
        return ()
    rows = [STAGE.fullmatch(line) for line in part.split("\n")]
    if not all(rows):
        return None
    return tuple(Stage(unquoted(row[4]), row[1], Oid(row[2]), int(row[3])) for row in rows if row is not None)
