"""What was set aside, why, and what to do about it: read from the commits in which conflicts are parked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from stratum_git.app.reading import UnknownTaskError
from stratum_git.app.surroundings import Surroundings
from stratum_git.core.questions import fan_of
from stratum_git.dispatch.errand import intent_of, title_of
from stratum_git.dispatch.parking import Told, sides_of, speaks_of, told_by
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.commits import Commit, commits_of
from stratum_git.git.hunks import LARGEST, Hunk, Part, hunks_of, is_text
from stratum_git.git.refs import read_refs
from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader, differences
from stratum_git.model.ids import OWN, FlowId, Json, Oid, StepId, TaskId
from stratum_git.model.messages import Mend
from stratum_git.model.state import Failed, FlowState, Parked
from stratum_git.store.flows import load
from stratum_git.store.resolutions import Side, Triple

KIND = re.compile(r"CONFLICT \(([^)\n]+)\)")
LINK, SUBMODULE = "120000", "160000"
COMMITS = 50
"""Commits of the target that are looked at for each conflict, the newest."""
LINES = 400
"""Lines of hunks of a file that are told; the rest is counted. Of a long line the beginning is."""
LONG = 1000
FILES = 200
"""Files of a conflict that are compared."""
NAMES = ("base", "ours", "theirs")
NOWHERE = Triple(None, None, None)


@dataclass(frozen=True, slots=True)
class _Place:
    """A parked conflict: of which step and task, and the commit."""

    step: StepId
    task: TaskId | None
    commit: Oid


@dataclass(frozen=True, slots=True)
class _View:
    """What is looked at."""

    repo: Repository
    trees: TreeReader
    state: FlowState
    refs: Mapping[str, Oid]
    context: int

    def intent(self, step: StepId, task: TaskId | None) -> tuple[str, str]:
        """Returns the title and the intent of a task, or of a step."""
        spec, fan = self.state.program.steps[step], fan_of(self.state.step(step))
        found = None if fan is None or task is None else fan.graph.tasks[fan.graph.index[task]]
        return title_of(self.state, spec, found), intent_of(self.state, spec, found)


def conflicts(
    around: Surroundings, flow: FlowId, task: str | None = None, context: int = 0
) -> list[dict[str, Json]]:
    """Returns the parked results of a flow, or of one task: ``contracts/conflicts.v1.schema.json``.

    *context* is how many lines are told around what conflicts. Raises UnknownTaskError.
    """
    repo = around.repository()
    state = load(repo, flow)[0].state
    prefix = f"refs/stratum/conflicts/{flow}/"
    refs = {ref.removeprefix(prefix): oid for ref, oid in read_refs(repo, prefix).items()}
    if task is not None and not _is_known(state, task):
        hint = f"see `stratum-git query flow {flow} --long`"
        raise UnknownTaskError(f"the flow {flow} has no task or step {task}", hint=hint)
    with TreeReader(repo) as trees:
        view = _View(repo, trees, state, refs, context)
        found = [one for one in _places(state, refs) if task in {None, one.task or one.step}]
        return [_row(view, one) for one in found]


def _is_known(state: FlowState, task: str) -> bool:
    fans = (fan_of(now) for now in state.steps)
    return task in state.program.steps or any(fan is not None and task in fan.graph.index for fan in fans)


def _places(state: FlowState, refs: Mapping[str, Oid]) -> Iterator[_Place]:
    for step, now in zip(state.program.order, state.steps, strict=True):
        fan = fan_of(now)
        own = refs.get(f"{step}/{OWN}")
        if fan is None and isinstance(now, Failed) and own is not None:
            yield _Place(step, None, own)
        for task, parked in () if fan is None else zip(fan.graph.tasks, fan.tasks, strict=True):
            if isinstance(parked, Parked):
                yield _Place(step, task.id, parked.conflict)


def _row(view: _View, place: _Place) -> dict[str, Json]:
    flow, name = view.state.flow, place.task or OWN
    commit = commits_of(view.repo, [place.commit])[place.commit]
    told, (ours, result) = told_by(commit.message), commit.parents[:2]
    title, intent = view.intent(place.step, place.task)
    triples = sides_of(told.stages)
    paths = tuple(triples) or _paths_of(told)
    against = _against(view, ours, result, paths)
    ref = f"refs/stratum/conflicts/{flow}/{place.step}/{name}"
    return {
        "step_id": place.step,
        "task_id": place.task,
        "title": title,
        "intent": intent,
        "result": result,
        "onto": ours,
        "ref": ref if view.refs.get(f"{place.step}/{name}") == place.commit else None,
        "conflict": place.commit,
        "paths": list(paths),
        "files": [
            _file(view, told, path, triples.get(path, NOWHERE), against.get(path, []), compare=number < FILES)
            for number, path in enumerate(paths)
        ],
        "mended": [_mend(one) for one in told.mends],
        "tried": [_mend(one) for one in told.tried],
        "next": f"stratum-git resolve {flow} {place.task or place.step}",
    }


def _paths_of(told: Told) -> tuple[str, ...]:
    """Returns the paths of a conflict without stages, which only its sentences name."""
    found = re.findall(r"(?:Merge conflict in|CONFLICT \(.*?\): (?:Unclear split of)?) (\S+)", told.messages)
    return tuple(dict.fromkeys(found))


def _file(
    view: _View,
    told: Told,
    path: str,
    triple: Triple,
    against: list[Json],
    *,
    compare: bool,
) -> dict[str, Json]:
    said = [line for line in told.messages.split("\n") if speaks_of(line, path)]
    kinds = list(dict.fromkeys(kind for line in said for kind in KIND.findall(line)))
    words, hunks = _compared(view, triple) if compare and triple != NOWHERE else ("", ())
    shown = list(_shown(hunks))
    return {
        "path": path,
        "kind": ", ".join(kinds) or "conflict",
        "against": against,
        "words": words or ("" if hunks else "\n".join(said)),
        **{name: _side(side) for name, side in zip(NAMES, triple.sides, strict=True)},
        "hunks": [_hunk(one) for one in shown],
        "more": len(hunks) - len(shown),
    }


def _compared(view: _View, triple: Triple) -> tuple[str, tuple[Hunk, ...]]:
    """Returns what there is to say of the versions of a path, in words or in hunks."""
    base, ours, theirs = triple.sides
    modes = {side[0] for side in triple.sides if side is not None}
    if ours is None or theirs is None:
        return _absent(triple), ()
    if SUBMODULE in modes:
        return f"a link to another repository: {_ids(triple)}", ()
    asked = [side[1] for side in triple.sides if side is not None]
    data = [None if one is None else one.data for one in read_small_objects(view.repo, asked, LARGEST)]
    known = [one for one in data if one is not None]
    if len(known) < len(data):
        return f"too large to be compared here: {_ids(triple)}", ()
    if LINK in modes:
        to = ", ".join(f"{one.decode('utf-8', 'replace')}" for one in known)
        return f"a symbolic link: {to} ({_ids(triple)})", ()
    if not is_text(*known):
        return f"binary: {_ids(triple)}", ()
    was = known[0] if base is not None else b""
    mode = "" if ours[0] == theirs[0] else f"mode {ours[0]} on the target, {theirs[0]} in the result"
    return mode, hunks_of(was, known[-2], known[-1], view.context)


def _absent(triple: Triple) -> str:
    _, ours, theirs = triple.sides
    if ours is None and theirs is None:
        return "on neither side: renamed, or gone into a folder"
    if triple.base is None:
        return f"only {'in the result' if ours is None else 'on the target'}: {_ids(triple)}"
    if ours is None:
        return f"deleted on the target, changed in the result: {_ids(triple)}"
    return f"changed on the target, deleted in the result: {_ids(triple)}"


def _ids(triple: Triple) -> str:
    pairs = zip(("it was", "the target has", "the result has"), triple.sides, strict=True)
    return ", ".join(f"{name} {side[1][:10]}" for name, side in pairs if side is not None)


def _shown(hunks: Iterable[Hunk]) -> Iterator[Hunk]:
    lines = 0
    for one in hunks:
        lines += sum(len(part.lines) for part in (one.base, one.ours, one.theirs))
        if lines > LINES:
            return
        yield one


def _against(view: _View, ours: Oid, result: Oid, paths: Iterable[str]) -> dict[str, list[Json]]:
    """Returns by path who changed it on the target since what the result was made from, newest first."""
    wanted = set(paths)
    if not wanted:
        return {}
    asked = ("rev-list", f"--max-count={COMMITS}", ours, f"^{result}", "--", *sorted(wanted))
    # A path with a star in it is that path and no pattern.
    found = view.repo.git.run(*asked, env={"GIT_LITERAL_PATHSPECS": "1"}).stdout.decode("ascii").split()
    against: dict[str, list[Json]] = {}
    for commit in commits_of(view.repo, map(Oid, found)).values():
        row = _other(view, commit)
        for path in wanted & set(_changed(view, commit)):
            against.setdefault(path, []).append(row)
    return against


def _changed(view: _View, commit: Commit) -> Iterator[str]:
    for parent in commit.parents[:1]:
        for change in differences(view.trees, view.trees.root(parent), commit.tree):
            yield change.path


def _other(view: _View, commit: Commit) -> Json:
    trailers = told_by(commit.message).trailers
    step, task = trailers.get("Stratum-Step", ""), trailers.get("Stratum-Task")
    row: dict[str, Json] = {"commit": commit.oid, "title": commit.message.partition("\n")[0]}
    row |= {"author": commit.author.name, "step_id": None, "task_id": None, "intent": ""}
    fan = fan_of(view.state.step(StepId(step))) if step in view.state.program.steps else None
    is_ours = trailers.get("Stratum-Flow") == view.state.flow and step in view.state.program.steps
    if not is_ours or (task is not None and (fan is None or task not in fan.graph.index)):
        return row
    intent = view.intent(StepId(step), None if task is None else TaskId(task))[1]
    return {**row, "step_id": step, "task_id": task, "intent": intent}


def _side(side: Side) -> Json:
    return None if side is None else {"mode": side[0], "oid": side[1]}


def _hunk(one: Hunk) -> Json:
    around: dict[str, Json] = {"before": _texts(one.before), "after": _texts(one.after)}
    return {"base": _part(one.base), "ours": _part(one.ours), "theirs": _part(one.theirs), **around}


def _part(part: Part) -> Json:
    return {"start": part.start, "lines": _texts(part.lines)}


def _texts(lines: Iterable[bytes]) -> list[Json]:
    texts = (line.decode("utf-8", "replace") for line in lines)
    return [text if len(text) <= LONG else f"{text[:LONG]}..." for text in texts]


def _mend(one: Mend) -> Json:
    return {"path": one.path, "rung": one.rung, "by": one.by}
