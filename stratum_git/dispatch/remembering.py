"""Remembers how a parked conflict was resolved, so that the very same one resolves itself.

What is remembered is one file for one file: a conflict in which renames or folders have a part, or of which
nobody can say that it was resolved (markers are still in it), is not.
"""

from __future__ import annotations

from stratum_git.agents.drivers import LARGEST, has_markers
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.parking import Case, cases_of, told_by
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.commits import commits_of
from stratum_git.git.grafting import entry_at
from stratum_git.git.objects import Signature
from stratum_git.git.tree_reader import differences
from stratum_git.model.ids import Oid
from stratum_git.store.resolutions import Provenance, Resolution, Side

FOLDER, LINK = "040000", "160000"


def remember(context: Context, conflict: Oid, resolved: Oid, whence: Provenance) -> tuple[Resolution, ...]:
    """Remembers how the conflict parked as commit *conflict* was resolved; returns what is worth it.

    *resolved* is the tree as who resolved it left it: not one in which other work has landed as well.
    Doing it again changes nothing but the history of what is remembered.
    """
    commit = commits_of(context.repo, [conflict])[conflict]
    told = told_by(commit.message)
    found = []
    for case in cases_of(told.stages, told.messages):
        result = entry_at(context.merger.trees, resolved, case.path)
        if _is_answer(context, case, commit.tree, resolved, result):
            found.append(Resolution(case.triple, result, case.path, whence))
    new = [one for one in found if context.ladder.memory.find(one.triple) != one]
    who = context.identity
    context.ladder.memory.add(context.writer, Signature(who.name, who.email, whence.at, who.tz), new)
    return tuple(found)


def _is_answer(context: Context, case: Case, parked: Oid, resolved: Oid, result: Side) -> bool:
    """Returns whether *result* answers the conflict of a path by itself."""
    if result is None:
        # What is gone may have gone elsewhere, if anything is new.
        return case.kind == "modify/delete" and not _has_new(context, parked, resolved)
    if result[0] in {FOLDER, LINK}:
        return False
    if case.kind != "modify/delete" and result == entry_at(context.merger.trees, parked, case.path):
        return False
    asked = [result[1], *(side[1] for side in case.triple.sides if side is not None)]
    data = [None if one is None else one.data for one in read_small_objects(context.repo, asked, LARGEST)]
    content, *sides = (one or b"" for one in data)
    return not has_markers(content, *sides)


def _has_new(context: Context, old: Oid, new: Oid) -> bool:
    changes = differences(context.merger.trees, old, new)
    return any(change.status == "A" and not change.is_folder for change in changes)
