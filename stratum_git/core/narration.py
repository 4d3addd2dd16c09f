"""What ``git log`` says of an event: a sentence, the details, and trailers that programs read."""

from __future__ import annotations

import json
from typing import TypeAlias, assert_never

from stratum_git.core import budgets
from stratum_git.core.collisions import sighting
from stratum_git.core.contest import number_of
from stratum_git.core.usage import in_words
from stratum_git.model.choosing import Chosen
from stratum_git.model.effects import AwaitGate, Effect, Finish, Launch
from stratum_git.model.ids import Json
from stratum_git.model.messages import (
    Answered,
    Called,
    CancelRequested,
    Checkpointed,
    Completed,
    Considered,
    DroppedResult,
    Event,
    GateResolved,
    Gathered,
    Halted,
    Landed,
    LandedLater,
    LandedResult,
    LandingBlocked,
    LandingEntry,
    LoopAborted,
    LoopReported,
    LoopStarted,
    Lost,
    Opened,
    Outcome,
    ParkedResult,
    Rejected,
    Resumed,
    Reverted,
    SkipRequested,
    Started,
    StepReported,
    Suspended,
    Synced,
    TaskReport,
    TaskReported,
    Undone,
)
from stratum_git.model.proofs import Proof
from stratum_git.model.resolutions import ResolvingBegan, ResolvingEnded
from stratum_git.model.sessions import Continued, ReviewBegan, Reviewed, SessionClosed, SessionEvent
from stratum_git.model.sightings import Sighted
from stratum_git.model.spending import BudgetSpent
from stratum_git.model.state import FlowState
from stratum_git.model.values import dataclass

ClientEvent: TypeAlias = (
    Considered | Answered | SkipRequested | Called | Gathered | LoopStarted | LoopReported | LoopAborted
)
SHORT = 10
"""Digits of an object id in a sentence; trailers have all of them."""


@dataclass(frozen=True, slots=True)
class Narration:
    """A commit message in its parts."""

    subject: str
    details: tuple[str, ...]
    trailers: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """Returns the message as git keeps it."""
        trailers = "\n".join(f"{key}: {_line(value)}" for key, value in self.trailers)
        parts = [_line(self.subject), "\n".join(_line(d) for d in self.details), trailers]
        return "\n\n".join(part for part in parts if part) + "\n"


def narrate(event: Event, after: FlowState, effects: tuple[Effect, ...]) -> Narration:
    """Returns the message of the commit that records *event*."""
    subject, details = _tell(event, after)
    launched = [_name(e.step, e.task, e.attempt) for e in effects if isinstance(e, Launch)]
    more = (f"Launches {', '.join(launched)}.",) if launched else ()
    comes_to_rest = after.status != "running" and any(isinstance(e, AwaitGate | Finish) for e in effects)
    broke = budgets.broke(after)
    ended = (f"The flow is {after.status}{f': {broke}' if broke else ''}.",) if comes_to_rest else ()
    return Narration(subject, (*details, *more, *ended), _trailers(event, after))


def _tell(event: Event, after: FlowState) -> tuple[str, tuple[str, ...]]:
    match event:
        case Started():
            return f"Start flow {event.name} on {_branch(event.target)} at {event.base[:SHORT]}", ()
        case Opened():
            return f"{event.step}: open on {_branch(event.target)} at {event.base[:SHORT]}", ()
        case StepReported(step=step, attempt=attempt, outcome=outcome):
            return _outcome(_name(step, None, attempt), outcome, _unseen(event, after))
        case TaskReported(step=step, task=task, attempt=attempt, outcome=outcome):
            return _outcome(_name(step, task, attempt), outcome, _unseen(event, after))
        case Chosen():
            return _choice(event)
        case GateResolved():
            return f"{event.step}: {event.outcome}", (event.rationale,) if event.rationale else ()
        case Landed() | LandedLater():
            return _landing(event)
        case Undone(old=old, new=new):
            return f"Put {_branch(event.target)} back from {old[:SHORT]} to {new[:SHORT]}", ()
        case LandingBlocked():
            return f"{event.step}: landing is blocked: {event.reason}", event.paths
        case ResolvingBegan():
            name = _name(event.step, event.task, event.attempt)
            return f"{name}: {event.by} resolves the conflict", event.paths
        case ResolvingEnded():
            return _resolving_ended(event)
        case Continued() | SessionClosed() | ReviewBegan() | Reviewed():
            return _session(event)
        case Synced():
            return f"The checkouts follow {_branch(event.target)}", event.notes
        case CancelRequested():
            what = f"task {event.task}" if event.task is not None else "the flow"
            return f"Cancel {what}: {event.why}", ()
        case Suspended():
            why = (event.why, "`stratum-git resume` goes on with it.") if event.why else ()
            return "Interrupt the flow", why
        case Resumed():
            return "Resume the flow", ()
        case Checkpointed():
            return f"Checkpoint {event.label}", ()
        case Reverted():
            return f"Go back to checkpoint {event.label}", ()
        case Sighted():
            return sighting(event)
        case BudgetSpent():
            said = budgets.over(after, after.program.steps[event.step])
            return f"{event.step}: {said or 'a budget is spent'}", ()
        case _:
            return _tell_client(event)


def _tell_client(event: ClientEvent) -> tuple[str, tuple[str, ...]]:
    match event:
        case Considered():
            return f"{event.step}: {'to be skipped' if event.skip else 'not to be skipped'}", ()
        case Answered():
            said = "done" if event.verdict == "ok" else event.verdict.replace("_", " ")
            cost = in_words(event.usage)
            return f"{event.step}: {said}", (*event.violations, *((f"It cost {cost}.",) if cost else ()))
        case SkipRequested():
            return f"{event.step}: skip", (event.reason,)
        case Called():
            return f"{event.step}: start flow {event.child}", ()
        case Gathered():
            lines = (f"{r.task}: {_outcome('', r.outcome)[0].lstrip(': ')}{_cost(r)}" for r in event.reports)
            told = f"{event.step}: {len(event.reports)} tasks reported"
            return f"{told}, merging them failed" if event.conflict else told, tuple(lines)
        case LoopStarted():
            return f"{event.step}: start a loop", ()
        case LoopReported():
            met = "the criterion is met" if event.met else "go on"
            return f"{event.step}: a pass of the loop, {met}", ()
        case LoopAborted():
            return f"{event.step}: give the loop up", (event.reason,)
        case _ as never:
            assert_never(never)


def _session(event: SessionEvent) -> tuple[str, tuple[str, ...]]:
    match event:
        case Continued():
            return f"{event.step}: continue: {_start(event.message)}", (event.note,) if event.note else ()
        case SessionClosed():
            return "Close the session", (event.why,) if event.why else ()
        case ReviewBegan(task=task):
            what = task.task or task.step or "the work"
            return f"Verify {what} at {task.commit[:SHORT]} by {event.review}", ()
        case Reviewed():
            return _review(event)


def _start(words: str) -> str:
    line = next((line.strip() for line in words.splitlines() if line.strip()), "")
    return line[:60]


def _review(event: Reviewed) -> tuple[str, tuple[str, ...]]:
    report = event.report if isinstance(event.report, dict) else {}
    reasons = report.get("reasons")
    said = str(report.get("verdict") or report.get("status") or "nothing")
    lines = tuple(str(one) for one in reasons) if isinstance(reasons, list) else ()
    return f"The verification {event.review} says {said}", lines


def _cost(report: TaskReport) -> str:
    cost = in_words(report.outcome.usage)
    return f", {cost}" if cost else ""


def _resolving_ended(event: ResolvingEnded) -> tuple[str, tuple[str, ...]]:
    name = _name(event.step, event.task, event.attempt)
    if not event.done:
        return f"{name}: the conflict stays parked", ()
    if event.conflict is None:
        return f"{name}: resolved as {(event.result or '')[:SHORT]}", ()
    return f"{name}: resolved, and conflicts with the target by now", event.paths


def _outcome(name: str, outcome: Outcome, more: tuple[str, ...] = ()) -> tuple[str, tuple[str, ...]]:
    cost = in_words(outcome.usage)
    waited = outcome.usage.get("waited_ms")
    said = (
        f"It waited {waited / 1000:.0f} s for room at its model's server." if isinstance(waited, int) else ""
    )
    costs = (*((f"It cost {cost}.",) if cost else ()), *((said,) if said else ()), *more)
    match outcome:
        case Completed(base, result):
            what = "nothing changed" if result == base else f"result {result[:SHORT]}"
            return f"{name}: complete, {what}", costs
        case Rejected(kind, findings):
            return f"{name}: rejected ({kind})", (*findings, *costs)
        case Lost(why):
            return f"{name}: lost: {why}", costs
        case Halted(why):
            return f"{name}: stopped: {why}", costs
        case _ as never:
            assert_never(never)


def _unseen(event: StepReported | TaskReported, after: FlowState) -> tuple[str, ...]:
    """Returns what is said once of an attempt that does not tell what a budget would have to know."""
    if after.spent.total.unseen != 1 or not budgets.is_unseen(after, event):
        return ()
    return (f"{event.by.removeprefix('agent ')} told no cost: the budget cannot see it",)


def _choice(event: Chosen) -> tuple[str, tuple[str, ...]]:
    why = "".join(f": {one.reason}" for one in event.ranking if one.task == event.candidate)
    subject = f"{event.step}/{event.task}: chose candidate {_place(event)}{why}"
    return subject, tuple(f"{one.task}: {one.reason}" for one in event.ranking if one.task != event.candidate)


def _place(event: Chosen) -> str:
    return f"{number_of(event.candidate)} of {len(event.ranking)}"


def _landing(event: Landed | LandedLater) -> tuple[str, tuple[str, ...]]:
    landed = [e for e in event.entries if isinstance(e, LandedResult)]
    parked = sum(isinstance(e, ParkedResult) for e in event.entries)
    left = len(event.entries) - len(landed) - parked
    tail = f", {parked} parked in conflict" if parked else ""
    tail += f", {left} left out" if left else ""
    verb = "land" if isinstance(event, Landed) else "land later"
    subject = f"{event.step}: {verb} {len(landed)} on {_branch(event.target)} at {event.new[:SHORT]}{tail}"
    lines = []
    for entry in event.entries:
        task = entry.task or event.step
        lines.append(f"{task}: {_placed(entry)}")
    return subject, (*lines, *event.findings, *map(_proof, event.proofs))


def _proof(proof: Proof) -> str:
    how = "known from before" if proof.cached else f"in {proof.seconds:.1f} s"
    said = "passes" if proof.verdict == "pass" else "fails"
    return f"{proof.commit[:SHORT]} {said}, {how}{', flaky' if proof.flaky else ''}"


def _placed(entry: LandingEntry) -> str:
    match entry:
        case LandedResult():
            where = entry.commit[:SHORT] if entry.commit else "nothing to land"
            mended = "".join(f", {mend.path} by {mend.rung} {mend.by}".rstrip() for mend in entry.mends)
            return f"{where} ({entry.note}){mended}" if entry.note else where + mended
        case ParkedResult():
            return f"conflicts in {', '.join(entry.paths)}"
        case DroppedResult():
            return f"left out: {'; '.join(entry.findings)}"
        case _ as never:
            assert_never(never)


def _trailers(event: Event, after: FlowState) -> tuple[tuple[str, str], ...]:
    name = type(event).__name__
    found = [("Stratum-Flow", str(after.flow)), ("Stratum-Event", name), ("Stratum-By", event.by)]
    for attribute in ("step", "task", "attempt"):
        value = getattr(event, attribute, None)
        if value is not None:
            found.append((f"Stratum-{attribute.capitalize()}", str(value)))
    if isinstance(event, StepReported | TaskReported):
        found.append(("Stratum-Outcome", type(event.outcome).__name__))
        if event.outcome.result is not None:
            found.append(("Stratum-Result", event.outcome.result))
    found += _usage(event)
    if isinstance(event, Chosen):
        found.append(("Stratum-Candidate", _place(event)))
        for one in event.ranking:
            if one.task == event.candidate and one.result is not None:
                found += [("Stratum-Attempt", str(one.attempt)), ("Stratum-Outcome", "Completed")]
                found.append(("Stratum-Result", one.result))
    if isinstance(event, Landed | LandedLater | Undone):
        found.append(("Stratum-Target", event.target))
        found.append(("Stratum-Landed", event.new))
    return tuple(found)


def _usage(event: Event) -> list[tuple[str, str]]:
    """Returns what attempts cost, as trailers: an object for each."""
    rows: list[dict[str, Json]] = []
    if isinstance(event, StepReported | TaskReported):
        rows = [dict(event.outcome.usage)]
    elif isinstance(event, Answered):
        rows = [dict(event.usage)]
    elif isinstance(event, Gathered):
        rows = [
            {
                "task": r.task,
                "attempt": r.attempt,
                "outcome": type(r.outcome).__name__.lower(),
                **r.outcome.usage,
            }
            for r in event.reports
            if r.outcome.usage
        ]
    return [("Stratum-Usage", json.dumps(row, sort_keys=True)) for row in rows if row]


def _name(step: str, task: str | None, attempt: int) -> str:
    where = step if task is None else f"{step}/{task}"
    return f"{where}#{attempt}"


def _branch(ref: str) -> str:
    return ref.removeprefix("refs/heads/")


def _line(text: str) -> str:
    """Returns *text* as one line without control characters, so that nobody's words forge a trailer."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())
