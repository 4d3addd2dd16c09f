"""Has work verified: commands first, then a reviewer who may only look. The flow whose work it is notes it.

A verification is a flow of its own, in slots of its own at the very commit, and does not touch what it looks
at. What it found is recorded there first, then told to the flow whose work it is: by its runner, and by
whoever looks next, should that one be killed in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from stratum_git.app import sessions
from stratum_git.app.config import read_config
from stratum_git.app.desk import Desk
from stratum_git.app.reading import change_of
from stratum_git.app.refused import Refused
from stratum_git.app.sessions_told import review_row
from stratum_git.app.telling import tell
from stratum_git.core.answers import Answer
from stratum_git.core.questions import fan_of, is_over
from stratum_git.core.sessions import STEP
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import DEFAULT_AGENT, NOBODY
from stratum_git.dispatch.errand import intent_of
from stratum_git.git.refs import tip_nowait
from stratum_git.git.repository import resolve
from stratum_git.model.ids import FlowId, Oid, StepId, TaskId
from stratum_git.model.sessions import ReviewBegan, ReviewTask, SessionTerms
from stratum_git.model.spec import Command
from stratum_git.model.state import FlowState

REVIEWER = "reviewer"
"""The agent that reviews where nobody is named, and one is configured by this name."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be verified, and how. One of ``flow`` (a session's too) and ``commits`` names the work."""

    flow: FlowId | None = None
    task: str | None = None
    commits: str | None = None
    commands: tuple[Command, ...] = ()
    criteria: str = ""
    agent: str | None = None
    timeout: float | None = None
    usd: float | None = None
    agents: tuple[str, ...] = ()


def begin(desk: Desk, wanted: Wanted) -> Answer:
    """Begins a verification, and starts its runner; the answer says what it is called."""
    sessions.check_limits(wanted.timeout, wanted.usd)
    subject = _subject(desk, wanted)
    if subject.commit == subject.base:
        message = f"nothing was changed: {subject.base} is where it began"
        raise Refused("nothing_to_verify", message, flow_id=wanted.flow)
    if subject.agent == NOBODY and not subject.commands:
        message = "there are no commands, and nobody is to review"
        raise Refused("nothing_to_verify", message, hint="give commands, or an agent", flow_id=wanted.flow)
    terms = SessionTerms(
        agent=subject.agent or DEFAULT_AGENT,
        profile="verification",
        timeout=wanted.timeout,
        usd=wanted.usd,
        review=subject,
    )
    words = f"Verify {subject.commit[:10]}: {subject.criteria or subject.intent}"
    state = sessions.opened(desk, "review", terms, words, subject.base, wanted.agents)
    if subject.flow is not None:
        event = ReviewBegan(now(), desk.context.identity.name, state.flow, subject)
        desk.act(subject.flow, lambda _: [event])
    sessions.started(desk, state, wanted.agents)
    return {"status": "started", **review_row(sessions.sight_of(desk), state.flow)}


def settle(desk: Desk, state: FlowState) -> FlowState:
    """Returns a flow with what has come of the verifications of its work since somebody looked."""
    for record in state.book.reviews:
        if record.ended is None and is_over(desk.look(record.review)):
            tell(desk.context, desk.look(record.review))
    return desk.look(state.flow)


def _subject(desk: Desk, wanted: Wanted) -> ReviewTask:
    repo, agent = desk.context.repo, _reviewer(desk, wanted)
    if (wanted.flow is None) is (wanted.commits is None):
        raise Refused("invalid_target", "name one of session_id, flow_id and commits: what is to be verified")
    if wanted.flow is None:
        base, commit = _range(desk, wanted.commits or "")
        return ReviewTask(commit, base, wanted.commands, wanted.criteria, "", agent)
    state = desk.look(wanted.flow)
    session = state.book.session
    if session is not None and wanted.task is None:
        sessions.known(state)
        tip = tip_nowait(repo, state.target) or state.base
        intent = "\n\n".join(turn.message for turn in session.turns)
        return ReviewTask(tip, state.base, wanted.commands, wanted.criteria, intent, agent, state.flow, STEP)
    if wanted.task is None:
        message = "which task of the flow is to be verified is not said"
        raise Refused("invalid_target", message, hint="give task_id", flow_id=wanted.flow)
    base, commit = change_of(repo, state, wanted.task, None)
    step, task, intent = _of_flow(state, wanted.task)
    return ReviewTask(commit, base, wanted.commands, wanted.criteria, intent, agent, state.flow, step, task)


def _reviewer(desk: Desk, wanted: Wanted) -> str:
    """Returns who reviews: whoever is named, else ``reviewer`` where there is one, else ``default``."""
    if wanted.agent is not None:
        return wanted.agent
    known = {*read_config(desk.context.repo.root).agents, *(one.partition("=")[0] for one in wanted.agents)}
    return REVIEWER if REVIEWER in known else DEFAULT_AGENT


def _range(desk: Desk, commits: str) -> tuple[Oid, Oid]:
    repo = desk.context.repo
    first, dots, last = commits.partition("..")
    if dots:
        return resolve(repo, first), resolve(repo, last.lstrip("."))
    return resolve(repo, f"{commits}^"), resolve(repo, commits)


def _of_flow(state: FlowState, name: str) -> tuple[StepId, TaskId | None, str]:
    for step in state.program.order:
        fan = fan_of(state.step(step))
        if fan is not None and TaskId(name) in fan.graph.index:
            task = fan.graph.tasks[fan.graph.index[TaskId(name)]]
            return step, task.id, intent_of(state, state.program.steps[step], task)
    step = StepId(name)
    return step, None, intent_of(state, state.program.steps[step], None)
