"""Rewrites a spec in another version of the language, and touches nothing that does not have to change.

The versions only add to each other: what an older one has means the same in a newer one, with the same
defaults. So the version itself is all that is rewritten, where its author wrote it, and everything around it
stays byte for byte. That this is so is not trusted but looked at: what was and what comes out are both read,
and have to be the same but for the version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import yaml

from stratum_git.core.parse import load_spec
from stratum_git.core.yaml_nodes import LOADER, plain, read_yaml
from stratum_git.model.ids import Json
from stratum_git.model.spec import Problem, Spec, Version

OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Migrated:
    """The text in the new version, the version that it had, and the line that says so."""

    text: str
    was: Version
    line: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a text cannot be rewritten, and the places that are in the way."""

    why: str
    problems: tuple[Problem, ...] = ()
    hint: str = ""


Migration: TypeAlias = Migrated | Refused


def migrate(text: str, to: Version) -> Migration:
    """Returns *text* in the version *to*, or why that cannot be."""
    before = load_spec(text)
    if before.spec is None:
        return Refused("the spec is not valid", before.problems)
    was = before.spec.version
    found = _written(text)
    if found is None:
        hint = f'write version: "{was}" at the top'
        return Refused("the version is not written in the file's own map", hint=hint)
    line = text.count("\n", 0, found.start) + 1
    if was == to:
        return Migrated(text, was, line)
    fresh = text[: found.start] + _respelled(found, was, to) + text[found.end :]
    after = load_spec(fresh)
    if after.spec is None:
        # Their hints say which version to write, and that is the one it has.
        problems = tuple(replace(problem, hint="") for problem in after.problems)
        return Refused(f"it would not be valid in version {to}", problems)
    if not _is_same(before.spec, after.spec) or _rest(text) != _rest(fresh):
        hint = "does something else in it refer to the version, by an anchor? write that out"
        return Refused(f"it would mean something else in version {to}", hint=hint)
    return Migrated(fresh, was, line)


@dataclass(frozen=True, slots=True)
class _Written:
    """Where the value of the version is, without its anchor and tag, and how it is spelled."""

    start: int
    end: int
    text: str
    quoted: bool


def _written(text: str) -> _Written | None:
    # The parser in C does not count this mark, and the one in Python does.
    skipped = 1 if text.startswith(BYTE_ORDER_MARK) else 0
    before: tuple[yaml.Token, ...] = ()
    depth = 0
    for token in _tokens(text[skipped:]):
        if depth == 1 and _is_key(before) and isinstance(token, yaml.ScalarToken | yaml.AliasToken):
            start, end = token.start_mark.index + skipped, token.end_mark.index + skipped
            bare = isinstance(token, yaml.ScalarToken) and token.plain
            return _Written(start, end, text[start:end], quoted=not bare)
        depth += isinstance(token, OPENING) - isinstance(token, CLOSING)
        before = (*before[-2:], token)
    return None


def _tokens(text: str) -> Iterator[yaml.Token]:
    for token in yaml.scan(text, Loader=LOADER):
        if not isinstance(token, yaml.AnchorToken | yaml.TagToken):
            yield token


def _is_key(tokens: tuple[yaml.Token, ...]) -> bool:
    match tokens:
        case (yaml.KeyToken(), yaml.ScalarToken(value="version"), yaml.ValueToken()):
            return True
        case _:
            return False


def _respelled(found: _Written, was: Version, to: Version) -> str:
    """Returns the new version in the quotes of the old one."""
    places = [*re.finditer(rf"(?<![\d.]){re.escape(was)}(?!\d)", found.text)]
    if not places:
        return f'"{to}"' if found.quoted else to
    # A block may begin with a comment that names it too.
    last = places[-1]
    return found.text[: last.start()] + to + found.text[last.end() :]


def _is_same(one: Spec, other: Spec) -> bool:
    return one == replace(other, version=one.version)


def _rest(text: str) -> Json:
    """Returns everything that a valid text holds but for its version, also what a spec does not keep."""
    root = read_yaml(text).root
    held = None if root is None else plain(root)
    return {key: value for key, value in held.items() if key != "version"} if isinstance(held, dict) else held
