"""Conflicts that an agent or a person resolves: what lies in the slot, what is asked, whether it was done.

The conflict is made again on top of the target as it is now. What is made of it is a change from there, so it
lands as it is unless the target moves once more. Where nothing conflicts any more, nobody has to do anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stratum_git.core.prompt import conflict_prompt
from stratum_git.core.questions import fan_of
from stratum_git.dispatch.context import Context, resolver_name
from stratum_git.dispatch.errand import Errand, intent_of
from stratum_git.dispatch.judge import Finding, shown
from stratum_git.dispatch.ladder import refused_in
from stratum_git.dispatch.opening import tip_of
from stratum_git.dispatch.parking import message_of, told_by
from stratum_git.dispatch.remembering import remember
from stratum_git.dispatch.stack import Change, apply
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.commits import commits_of
from stratum_git.git.grafting import entry_at
from stratum_git.git.merge import Conflicted
from stratum_git.git.objects import Signature
from stratum_git.git.planting import hunks, plant
from stratum_git.git.tree_reader import Entry, differences
from stratum_git.model.ids import FlowId, Oid, StepId, TaskId
from stratum_git.model.messages import Landed, LandedResult, Mend
from stratum_git.model.resolutions import ResolvingEnded
from stratum_git.model.spec import Step, Task
from stratum_git.model.state import FlowState, Merged, Parked, Resolving, Verified
from stratum_git.store.resolutions import Provenance

MARKER = re.compile(rb"(?:<{7,}|\|{7,}|>{7,})(?: .*)?\r?")
"""A line that a conflict brings: the sides have them around them, and a line of `=` may be anybody's."""
LARGEST = 10 * 1024 * 1024
SHOWN = 20
"""Commits, and lines with markers, that are named."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A parked conflict as it is on top of ``base``: the tree with markers, and the sides of its paths."""

    parked: Parked
    base: Oid
    made: Conflicted

    @property
    def tree(self) -> Oid:
        """Returns the tree with markers in it."""
        return self.made.tree

    @property
    def paths(self) -> tuple[str, ...]:
        """Returns the paths that conflict."""
        return self.made.paths


def conflict_at(context: Context, state: FlowState, step: StepId, parked: Parked) -> Conflict | None:
    """Returns a parked conflict as it is on the target now; ``None`` when there is none any more."""
    fan = fan_of(state.step(step))
    tip = tip_of(context, state, state.target if fan is None else fan.target)
    return conflict_on(context, parked, tip)


def conflict_on(context: Context, parked: Parked, base: Oid) -> Conflict | None:
    """Returns a parked conflict as it is on top of commit *base*; what was refused before still is."""
    commits = commits_of(context.repo, (base, parked.base, parked.result, parked.conflict))
    change = Change(None, parked.attempt, parked.base, parked.result)
    ladder = context.ladder.without(refused_in(told_by(commits[parked.conflict].message).tried))
    made = apply(context.repo, context.merger, commits, commits[base].tree, change, ladder)
    return Conflict(parked, base, made) if isinstance(made, Conflicted) else None


def as_commit(context: Context, flow: FlowId, step: StepId, task: TaskId, conflict: Conflict) -> Oid:
    """Returns a conflict as the commit that parks it: on its base, and on the result that it is about."""
    parents, who = (conflict.base, conflict.parked.result), context.identity
    rows = (("Flow", flow), ("Step", step), ("Task", task), ("Result", conflict.parked.result))
    message = message_of(str(task), conflict.made, "".join(f"Stratum-{k}: {v}\n" for k, v in rows))
    return context.writer.commit(conflict.tree, parents, message, who, who)


def parked_as(context: Context, parked: Parked, base: Oid, conflict: Oid, paths: tuple[str, ...]) -> Conflict:
    """Returns the conflict that :func:`as_commit` made a commit of."""
    commit = commits_of(context.repo, (conflict,))[conflict]
    told = told_by(commit.message)
    made = Conflicted(commit.tree, paths, told.stages, told.messages, told.mends, told.tried)
    return Conflict(parked, base, made)


def put_in_place(context: Context, conflict: Conflict, slot: Path) -> None:
    """Puts a conflict into a slot that is at its base."""
    # Git in the slot reads what was only just written.
    context.writer.heal()
    plant(slot, conflict.tree, conflict.made.stages)


def author_of(context: Context, parked: Parked) -> Signature:
    """Returns whose work it is that conflicts: what is made of it stays that one's."""
    return commits_of(context.repo, (parked.result,))[parked.result].author


# --- what is remembered -----------------------------------------------------------------------------------


def remember_landed(context: Context, before: FlowState, event: Landed) -> None:
    """Remembers how agents resolved what has landed now; *before* is the flow as it was landing."""
    fan = fan_of(before.step(event.step))
    landed = {entry.task for entry in event.entries if isinstance(entry, LandedResult)}
    spec = before.program.steps[event.step]
    for task, now_ in () if fan is None else zip(fan.graph.tasks, fan.tasks, strict=True):
        if task.id not in landed or not isinstance(now_, Verified) or not is_resolution(now_):
            continue
        parked = now_.resolves
        conflict = None if parked is None else conflict_on(context, parked, now_.base)
        if conflict is not None:
            by = f"agent {resolver_name(spec, task)}"
            whence = Provenance("agent", by, before.flow, event.step, task.id, event.at)
            made = as_commit(context, before.flow, event.step, task.id, conflict)
            remember(context, made, context.merger.trees.root(now_.result), whence)


def remember_as(context: Context, flow: FlowId, event: ResolvingEnded, who: Resolving) -> None:
    """Remembers how a person resolved a conflict."""
    if event.result is not None:
        whence = Provenance("person", event.by, flow, event.step, event.task, event.at)
        remember(context, who.conflict, context.merger.trees.root(event.result), whence)


def mends_of(step: Step, task: Task, now_: Verified) -> tuple[Mend, ...]:
    """Returns which files of a result an agent has resolved a conflict in."""
    if now_.resolves is None or not is_resolution(now_):
        return ()
    by = resolver_name(step, task)
    return tuple(Mend(path, "agent", by) for path in now_.resolves.paths)


def is_resolution(now_: Verified) -> bool:
    """Returns whether a result was made to resolve a conflict; one that conflicts no more is as it was."""
    return now_.resolves is not None and now_.result != now_.resolves.result


# --- what is asked ----------------------------------------------------------------------------------------


def asked(
    context: Context,
    state: FlowState,
    errand: Errand,
    conflict: Conflict,
    slot: Path,
    findings: Sequence[str],
) -> Errand:
    """Returns the errand of whoever resolves *conflict*, which lies in *slot*.

    What either side touched may be changed, besides what the task owns. Its output is there already.
    """
    wants = replace(errand.wants, contract=None, also=touched(context, conflict))
    checks = tuple(shown(command) for command in wants.verify)
    others = tuple(landed_before(context, state, errand.step.id, conflict))
    said = conflict_prompt(errand.words, others, conflict.paths, hunks(slot), checks, findings)
    return replace(errand, prompt=said, wants=wants)


def touched(context: Context, conflict: Conflict) -> frozenset[str]:
    """Returns the paths that one side or the other has changed, and those in conflict."""
    trees, parked = context.merger.trees, conflict.parked
    root = trees.root(parked.base)
    sides = (trees.root(parked.result), trees.root(conflict.base), conflict.tree)
    changes = (change for side in sides for change in differences(trees, root, side))
    return frozenset({*conflict.paths, *(change.path for change in changes if not change.is_folder)})


def landed_before(context: Context, state: FlowState, step: StepId, conflict: Conflict) -> Iterator[str]:
    """Yields what came to the target since the result began, and touched the paths: intents, or subjects."""
    span = f"{conflict.parked.base}..{conflict.base}"
    form = "--format=%H %s"
    env = {"GIT_LITERAL_PATHSPECS": "1"}
    asked_ = ("log", "--no-merges", f"--max-count={SHOWN}", "--no-show-signature", form, span, "--")
    out = context.repo.git.run(*asked_, *conflict.paths, env=env, ok=(0, 128)).stdout
    known = dict(_intents(state, step))
    for line in out.decode("utf-8", "replace").splitlines():
        oid, _, subject = line.partition(" ")
        yield known.get(Oid(oid)) or subject


def _intents(state: FlowState, step: StepId) -> Iterator[tuple[Oid, str]]:
    fan = fan_of(state.step(step))
    for task, now in () if fan is None else zip(fan.graph.tasks, fan.tasks, strict=True):
        if isinstance(now, Merged) and now.commit is not None:
            yield now.commit, _words(state, step, task)


def _words(state: FlowState, step: StepId, task: Task) -> str:
    spec = state.program.steps[step]
    return f"{task.id}: {intent_of(state, spec, task)}"


# --- whether it was done ----------------------------------------------------------------------------------


def unresolved(context: Context, conflict: Conflict, result: Oid, still: frozenset[str]) -> Finding | None:
    """Returns what is left of a conflict in the commit *result*, if anything.

    *still* are the paths that were unmerged in the slot: of a file without markers nothing else tells whether
    it is to stay as it lay there.
    """
    trees = context.merger.trees
    tree = trees.root(result)
    found: list[str] = []
    for path in conflict.paths:
        before, after = entry_at(trees, conflict.tree, path), entry_at(trees, tree, path)
        lines = _markers(context, conflict, path, before, after)
        found += lines
        if not lines and path in still and before == after:
            found.append(f"{path}: nothing was decided; `git add` it if it is to stay so, or `git rm` it")
    if not found and not conflict.made.stages and tree == conflict.tree:
        found.append(f"{', '.join(conflict.paths)}: the conflict is as it was")
    more = len(found) - SHOWN
    lines_ = (*found[:SHOWN], *((f"and {more} more",) if more > 0 else ()))
    return Finding("conflict", lines_) if found else None


def _markers(
    context: Context, conflict: Conflict, path: str, before: Entry | None, after: Entry | None
) -> list[str]:
    """Returns where in a file lines are left that the conflict brought, and that no side had."""
    if before is None or after is None or "160000" in (before[0], after[0]):
        return []
    sides = [stage.oid for stage in conflict.made.stages if stage.path == path and stage.mode != "160000"]
    blobs = read_small_objects(context.repo, [before[1], after[1], *sides], LARGEST)
    marked, now, *own = [b"" if blob is None else blob.data for blob in blobs]
    had = {line for data in own for line in data.split(b"\n")}
    brought = {line for line in marked.split(b"\n") if MARKER.fullmatch(line)} - had
    return [
        f"{path}:{number}: a conflict marker is left: {line.decode('utf-8', 'replace').strip()[:60]}"
        for number, line in enumerate(now.split(b"\n"), 1)
        if line in brought
    ]
