"""Undoes what a flow has landed: its targets are put back where it found them, or nothing is.

By compare-and-swap: a target that is not exactly where the flow left it stays there, and whoever built on it
is named. The results are kept, on their branches and in the history of the flow, and can land again.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from stratum_git.app import afterwards
from stratum_git.app.afterwards import Bench, at_bench
from stratum_git.app.running import BusyFlowError
from stratum_git.app.surroundings import Surroundings
from stratum_git.core.questions import is_over
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.landing import in_the_way
from stratum_git.dispatch.turn import hold, landing_turn
from stratum_git.errors import UserError
from stratum_git.git.diff import is_ancestor
from stratum_git.git.figures import Figures, between, count_between
from stratum_git.git.refs import read_ref
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId, Oid, RefName
from stratum_git.model.messages import Undone
from stratum_git.store.moves import Trail, trails

FEW = 10
SHORT = 10


class NotOverError(BusyFlowError):
    """The flow has steps before it."""

    word = "NOT_OVER"


class BuiltOnError(UserError):
    """Others have moved a target since, so putting it back would take their work off it."""

    word = "BUILT_ON"


class NothingLandedError(UserError):
    """The flow has landed nothing that could be undone."""

    word = "NOTHING_LANDED"


@dataclass(frozen=True, slots=True)
class PutBackTarget:
    """A target that is put back from ``old`` to ``new``, and the commits that are not on it any more.

    ``is_done`` says that it was so already, when the verb was called.
    """

    target: RefName
    old: Oid
    new: Oid
    commits: tuple[Figures, ...] = ()
    is_done: bool = False


@dataclass
class UndoReport:
    """What an undo did, or would do; ``notes`` tell of checkouts that could not follow."""

    flow: FlowId
    is_dry: bool
    targets: tuple[PutBackTarget, ...]
    blocked: str = ""
    notes: list[str] = field(default_factory=list)


def undo(around: Surroundings, flow: FlowId, *, is_dry: bool = False) -> UndoReport:
    """Puts every target of a flow back; raises UserError when one of them cannot be, and then moves none."""
    with at_bench(around, flow, is_look=is_dry) as bench:
        _check_over(bench)
        if is_dry:
            report = _plan(bench, is_dry=True)
            refused = _obstacle(bench, report)
            report.blocked = "" if refused is None else refused.message
            return report
        with landing_turn(bench.context):
            for _ in range(afterwards.RACES):
                done = _undone(bench)
                if done is not None:
                    return done
    raise afterwards.restless(flow)


def _check_over(bench: Bench) -> None:
    state = bench.state
    if not is_over(state):
        hint = f"end it first: `stratum-git cancel {state.flow}`"
        raise NotOverError(f"the flow {state.flow} is not over: it is {state.status}", hint=hint)


def _undone(bench: Bench) -> UndoReport | None:
    """Puts the targets back; ``None`` when somebody was there before, and it is to be looked again."""
    report = _plan(bench, is_dry=False)
    refused = _obstacle(bench, report)
    if refused is not None:
        raise refused
    at, by = now(), bench.context.identity.name
    events = [Undone(at, by, one.target, one.old, one.new) for one in report.targets if not one.is_done]
    if not events:
        return report
    with ExitStack() as stack:
        held = [stack.enter_context(hold(bench.context, event)) for event in events]
        if None in held or not bench.record(events):
            return None
        places = frozenset().union(*(one for one in held if one is not None))
        report.notes += bench.catch_up(places)
    return report


def _plan(bench: Bench, *, is_dry: bool) -> UndoReport:
    flow, repo = bench.state.flow, bench.context.repo
    found = trails(repo, bench.stored.tip)
    if not found:
        raise NothingLandedError(f"the flow {flow} has landed nothing", hint=f"see `stratum-git log {flow}`")
    return UndoReport(flow, is_dry, tuple(_target(repo, flow, trail) for trail in found))


def _target(repo: Repository, flow: FlowId, trail: Trail) -> PutBackTarget:
    if not trail.moves:
        undone = trail.undone
        old, new = (undone.old, undone.new) if undone is not None else (Oid(""), Oid(""))
        return PutBackTarget(trail.target, old, new, is_done=True)
    first, last = trail.moves[0].old, trail.moves[-1].new
    _check_tip(repo, flow, trail.target, last)
    for gap in trail.gaps:
        who = _named(repo, gap.old, gap.new)
        said = f"in between the landings of {flow} others moved {_short(trail.target)}: {who}"
        raise BuiltOnError(said, hint="`git revert` takes single commits back")
    return PutBackTarget(trail.target, last, first, between(repo, first, last))


def _check_tip(repo: Repository, flow: FlowId, target: RefName, last: Oid) -> None:
    tip, name = read_ref(repo, target), _short(target)
    if tip == last:
        return
    if tip is None:
        raise BuiltOnError(f"the branch {name} is gone", hint=f"the flow had left it at {last}")
    if is_ancestor(repo, last, tip):
        said = f"{name} is not where {flow} left it: others built on it: {_named(repo, last, tip)}"
        raise BuiltOnError(said, hint="undo theirs first, or take single commits back with `git revert`")
    said = f"{name} is not where {flow} left it, at {last[:SHORT]}: somebody moved it to {tip[:SHORT]}"
    raise BuiltOnError(said, hint=f"`git log {last[:SHORT]}` shows what it left")


def _named(repo: Repository, old: Oid, new: Oid) -> str:
    """Returns the commits between two, newest last, with who made them and what flow they are of."""
    shown = between(repo, old, new, FEW)
    words = [_told(one) for one in shown]
    more = count_between(repo, old, new) - len(shown)
    if not words:
        return f"it went from {old[:SHORT]} to {new[:SHORT]}"
    return ", ".join([f"{more} before", *words] if more > 0 else words)


def _told(one: Figures) -> str:
    lines = one.commit.message.splitlines()
    flow = next((line.partition(": ")[2] for line in lines if line.startswith("Stratum-Flow: ")), "")
    who = f"{one.commit.author.name}, by flow {flow}" if flow else one.commit.author.name
    return f"{one.commit.oid[:SHORT]} {lines[0] if lines else ''} ({who})"


def _obstacle(bench: Bench, report: UndoReport) -> afterwards.InTheWayError | None:
    repo, trees = bench.context.repo, bench.context.merger.trees
    for one in report.targets:
        refused = None if one.is_done else in_the_way(repo, one.target, one.old, one.new, trees)
        if refused is not None:
            return afterwards.in_the_way(refused, report.flow, "undo")
    return None


def _short(target: RefName) -> str:
    return target.removeprefix("refs/heads/")
