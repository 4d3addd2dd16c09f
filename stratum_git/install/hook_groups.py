"""Our hooks in the settings of a client, beside those of others: put in, brought up to date, taken out.

A hook of ours is known by its command. It has a group of its own; what others put into it stays theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TypeAlias

from stratum_git.install.documents import Document
from stratum_git.install.json_edit import replaced, value_of
from stratum_git.install.json_scan import Array, Node, Object
from stratum_git.install.refusing import Unusable
from stratum_git.model.ids import Json

OWN = re.compile(r"""(?:^|[\s/'"])stratum[-_]git['"]?\s+hook\s+([a-z][a-z-]*)""")
"""A command that runs a hook of ours, whichever way the program is named."""
MANY = 200
"""Hooks of ours in one file. Each is taken out by itself, and nobody has more than two dozen."""
Key: TypeAlias = tuple[str, str | None, str]
"""What a hook of ours is found by: its event, its matcher, its name."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook of ours: its event, its matcher (``None``: the event has none), its name, its entry."""

    event: str
    matcher: str | None
    name: str
    entry: Mapping[str, Json]

    @property
    def key(self) -> Key:
        """Returns what it is found by."""
        return self.event, self.matcher, self.name


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a hook of ours stands: in the group *group* of its event, as number *index* of *count*."""

    key: Key
    group: int
    index: int
    count: int
    command: Node


def with_hooks(doc: Document, hooks: Sequence[Hook]) -> Document:
    """Returns *doc* with our hooks, and with no others of ours; raises Unusable where hooks are malformed.

    One that is there already keeps what else it was given, such as a timeout: only its command is changed.
    """
    wanted = {hook.key: hook for hook in hooks}
    doc = _only(doc, wanted.keys(), None)
    while (place := _outdated(doc, wanted)) is not None:
        text = replaced(doc.text, place.command, wanted[place.key].entry["command"])
        doc = replace(doc, text=text)
    there = {place.key for place in _own(doc)}
    for hook in hooks:
        if hook.key not in there:
            matcher: dict[str, Json] = {} if hook.matcher is None else {"matcher": hook.matcher}
            doc = doc.append(["hooks", hook.event], {**matcher, "hooks": [dict(hook.entry)]})
    return doc


def without_hooks(doc: Document, kept: Document | None) -> Document:
    """Returns *doc* without our hooks; what becomes empty and *kept* has too, stays."""
    return _only(doc, frozenset(), kept)


def foreign(doc: Document, event: str) -> bool:
    """Returns whether somebody else has a hook for an event."""
    groups = doc.array("hooks", event)
    own = {(place.group, place.index) for place in _own(doc) if place.key[0] == event}
    return any(
        (number, index) not in own
        for number, group in enumerate(groups.items if groups is not None else ())
        for index, _ in enumerate(_hooks(group))
    )


def _only(doc: Document, wanted: AbstractSet[Key], kept: Document | None) -> Document:
    """Takes out hooks of ours that are not wanted, and the second of two."""
    if sum(1 for _ in _own(doc)) > MANY:
        raise Unusable(f"it has more than {MANY} hooks of stratum-git", "delete them by hand")
    while (place := _unwanted(doc, wanted)) is not None:
        event = place.key[0]
        groups = doc.array("hooks", event)
        if groups is None:
            break
        hooks = _list(groups.items[place.group])
        if place.count == 1 or hooks is None:
            doc = doc.drop(groups, place.group).prune(["hooks", event], kept)
        else:
            doc = doc.drop(hooks, place.index)
    return doc


def _unwanted(doc: Document, wanted: AbstractSet[Key]) -> _Place | None:
    seen: set[Key] = set()
    for place in _own(doc):
        if place.key not in wanted or place.key in seen:
            return place
        seen.add(place.key)
    return None


def _outdated(doc: Document, wanted: Mapping[Key, Hook]) -> _Place | None:
    found = (p for p in _own(doc) if value_of(doc.text, p.command) != wanted[p.key].entry["command"])
    return next(found, None)


def _own(doc: Document) -> Iterator[_Place]:
    events = doc.object("hooks")
    for event in [member.key for member in events.members] if events is not None else ():
        groups = doc.array("hooks", event)
        for number, group in enumerate(groups.items if groups is not None else ()):
            matcher = group.member("matcher") if isinstance(group, Object) else None
            pattern = None if matcher is None else value_of(doc.text, matcher.value)
            items = _hooks(group)
            for index, item in enumerate(items):
                command = item.member("command") if isinstance(item, Object) else None
                said = None if command is None else value_of(doc.text, command.value)
                found = OWN.search(said) if isinstance(said, str) else None
                if found is not None and command is not None:
                    key = event, pattern if isinstance(pattern, str) else None, found[1]
                    yield _Place(key, number, index, len(items), command.value)


def _hooks(group: Node) -> Sequence[Node]:
    found = _list(group)
    return () if found is None else found.items


def _list(group: Node) -> Array | None:
    hooks = group.member("hooks") if isinstance(group, Object) else None
    return hooks.value if hooks is not None and isinstance(hooks.value, Array) else None
