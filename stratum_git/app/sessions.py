"""Sessions: begun, continued, closed, told of. Whoever asks gets an answer at once; a runner does the work.

Everything is recorded before it is done. So a server, a runner or an agent may be killed at any moment: what
was said is in the flow, what was done lies in the session's slot, and ``stratum-git resume`` takes both up.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trio

from stratum_git.app import detached, foresight, running
from stratum_git.app.desk import Desk
from stratum_git.app.recovery import give_back_of
from stratum_git.app.refused import Refused
from stratum_git.app.sessions_told import Sight, row
from stratum_git.app.workshop import make_context
from stratum_git.core.answers import Answer
from stratum_git.core.questions import in_flight, is_over
from stratum_git.core.sessions import PROMPT, STEP, current, is_at_rest
from stratum_git.core.verdicts import schema_flaw
from stratum_git.dispatch.clock import monotonic, now
from stratum_git.dispatch.context import UnknownAgentError
from stratum_git.dispatch.names import session_ref
from stratum_git.dispatch.opening import tip_of
from stratum_git.git.refs import RefUpdate, read_ref, tip_nowait
from stratum_git.git.repository import head_of, resolve
from stratum_git.model.ids import FlowId, Json, Oid, RefName
from stratum_git.model.messages import Started
from stratum_git.model.sessions import Continued, Session, SessionClosed, SessionProfile, SessionTerms
from stratum_git.model.spec import Command
from stratum_git.model.state import FlowState, Program
from stratum_git.slots.lodgers import is_run, slot_of
from stratum_git.store.listing import UnknownFlowError, flow_ref

LONGEST = 1_000_000
"""Characters of a message. What is longer belongs into a file."""
PATIENCE, PAUSE = 20.0, 0.05
"""Seconds to wait for a runner that is about to end, and between two looks."""
MOST = 1000
"""Turns of a session."""
NEW_PLACE = (
    "The directory that you worked in is gone. This is a new one, at the tip of the session's branch: "
    "files that git ignores, and what never got to that branch, are not in it."
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a session is to begin with; ``agents`` are options of the form NAME=COMMAND."""

    prompt: str
    agent: str = "default"
    profile: SessionProfile = "general"
    schema: Json = None
    base: str | None = None
    verify: tuple[Command, ...] = ()
    timeout: float | None = None
    usd: float | None = None
    agents: tuple[str, ...] = ()


def begin(desk: Desk, request: Request) -> Answer:
    """Begins a session and starts the runner of its first turn."""
    repo = desk.context.repo
    _check(request)
    base = head_of(repo).oid if request.base is None else resolve(repo, request.base)
    terms = SessionTerms(
        agent=request.agent,
        profile=request.profile,
        schema=request.schema,
        verify=request.verify,
        timeout=request.timeout,
        usd=request.usd,
    )
    state = opened(desk, "session", terms, request.prompt, base, request.agents)
    desk.move(RefUpdate(state.target, base, None))
    started(desk, state, request.agents)
    return {"status": "started", **told(desk, state.flow)}


def proceed(desk: Desk, flow: FlowId, message: str, agents: Sequence[str]) -> Answer:
    """Says something to the agent of a session that rests, and starts the runner of that turn."""
    _check_text("message", message)
    state = looked_up(desk, flow)
    session = known(state)
    _check_agent(desk, state, agents)
    note = "" if slot_of(desk.context.folders, flow) is not None else NEW_PLACE
    _restored(desk, state, session)

    def decide(now_is: FlowState) -> list[Continued]:
        resting(desk, now_is)
        base = base_of(desk, now_is, known(now_is))
        return [Continued(now(), desk.context.identity.name, STEP, message, base, note)]

    state = desk.act(flow, decide)
    started(desk, state, agents)
    return {"status": "continued", **({"note": note} if note else {}), **told(desk, flow)}


def close(desk: Desk, flow: FlowId, why: str) -> Answer:
    """Ends a session that rests: its slot is given back, its branch stays."""

    def decide(state: FlowState) -> list[SessionClosed]:
        session = known(state)
        if session.closed is not None:
            return []
        resting(desk, state)
        return [SessionClosed(now(), desk.context.identity.name, why)]

    looked_up(desk, flow)
    desk.act(flow, decide)
    with desk.alone(flow):
        give_back_of(desk.context, desk.look(flow))
    return {"status": "closed", **told(desk, flow)}


def check_limits(timeout: float | None, usd: float | None) -> None:
    """Raises Refused where a limit of an attempt is none: not more than 0, or not a number."""
    for name, value in (("timeout", timeout), ("budget_usd", usd)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise Refused("invalid_limit", f"{name} is {value:g}, and has to be a number of more than 0")


def opened(
    desk: Desk, name: str, terms: SessionTerms, prompt: str, base: Oid, agents: Sequence[str]
) -> FlowState:
    """Records the first event of a session; raises Refused where its agent is not there."""
    spec = spec_of(name, terms.agent)
    program = running.check_spec(spec, None)
    inputs: dict[str, Json] = {PROMPT: prompt}
    _foreseen(desk, program, inputs, agents)
    flow = FlowId(f"{name}-{secrets.token_hex(4)}")
    first = Started(
        at=now(),
        by=desk.context.identity.name,
        flow=flow,
        name=name,
        inputs=inputs,
        base=base,
        target=branch_of(flow),
        session=terms,
    )
    return desk.begin(program, first, spec)


def spec_of(name: str, agent: str) -> str:
    """Returns the spec of a session: one step, that one agent does once."""
    return f"""\
# Made by stratum-git for a session: what is asked is in its turns.
version: "0.4"
flows:
  {name}:
    input:
      {PROMPT}: {{type: string}}
    steps:
      - {{id: {STEP}, agent: {json.dumps(agent)}, intent: what the turns of the session say, retries: 1}}
"""


def branch_of(flow: FlowId) -> RefName:
    """Returns the branch of a session: a commit for each turn that changed something."""
    return session_ref(flow)


def started(desk: Desk, state: FlowState, agents: Sequence[str]) -> None:
    """Starts a runner for a session whose turn waits for one.

    That of the turn before may still be deleting what it threw away, and takes nothing up any more.
    """
    deadline = monotonic() + PATIENCE
    while _waits(desk.look(state.flow)):
        if not is_run(desk.context.folders, state.flow):
            detached.start(desk, state.flow, None, agents)
            return
        if monotonic() > deadline:
            message = f"the runner of the turn before is still at work on {state.flow}"
            raise Refused("session_interrupted", message, hint="take it up later", flow_id=state.flow)
        trio.from_thread.run(trio.sleep, PAUSE)


def _waits(state: FlowState) -> bool:
    """Returns whether a turn waits for a runner."""
    return not is_over(state) and not in_flight(state)


def looked_up(desk: Desk, flow: FlowId) -> FlowState:
    """Returns the flow of a session as it is now; raises Refused when there is none."""
    try:
        return desk.look(flow)
    except Refused as error:
        if error.kind != "flow_not_found":
            raise
        hint = "query sessions lists those of this repository"
        raise Refused("session_not_found", f"there is no session {flow[:100]}", hint=hint) from error


def is_known(desk: Desk, name: str) -> bool:
    """Returns whether there is a flow of this name, be it a session or another one."""
    try:
        return read_ref(desk.context.repo, flow_ref(FlowId(name))) is not None
    except UnknownFlowError:
        return False


def known(state: FlowState) -> Session:
    """Returns the session that a flow is; raises Refused when it is none that can go on."""
    session = state.book.session
    if session is None:
        message = f"the flow {state.flow} is no session"
        raise Refused("not_a_session", message, hint="query sessions lists them", flow_id=state.flow)
    if session.terms.review is not None:
        message = f"{state.flow} is a verification, which has one turn"
        raise Refused("not_a_session", message, hint="verify again instead", flow_id=state.flow)
    return session


def resting(desk: Desk, state: FlowState) -> None:
    """Raises Refused unless a session waits for its next turn."""
    session = known(state)
    if session.closed is not None:
        message = f"the session {state.flow} is closed"
        raise Refused("session_closed", message, hint="begin a new one from its branch", flow_id=state.flow)
    if len(session.turns) >= MOST:
        raise Refused("session_full", f"the session {state.flow} has {MOST} turns", flow_id=state.flow)
    if is_at_rest(state):
        return
    number = current(session).number
    if detached.is_run(desk, state.flow):
        message = f"turn {number} of the session {state.flow} is under way"
        raise Refused("session_busy", message, hint="wait for its end, then go on", flow_id=state.flow)
    message = f"turn {number} of the session {state.flow} was cut off, and nobody runs it"
    hint = "take it up: stratum_parallel_start, or `stratum-git resume`; what was done so far is there"
    raise Refused("session_interrupted", message, hint=hint, flow_id=state.flow)


def base_of(desk: Desk, state: FlowState, session: Session) -> Oid:
    """Returns the commit that the next turn starts from."""
    last = current(session)
    if last.status == "done":
        return tip_of(desk.context, state, state.target)
    return last.base or state.base


def sight_of(desk: Desk) -> Sight:
    """Returns what whoever has a desk sees."""
    return Sight(desk.context.repo, desk.context.folders, desk.look)


def told(desk: Desk, flow: FlowId) -> Answer:
    """Returns where a session is, in short."""
    return row(sight_of(desk), flow)


def _restored(desk: Desk, state: FlowState, session: Session) -> None:
    """Makes the branch of a session again where somebody has deleted it: its commits are the session's."""
    if tip_nowait(desk.context.repo, state.target) is None:
        commits = [turn.commit for turn in session.turns if turn.commit is not None]
        desk.move(RefUpdate(state.target, commits[-1] if commits else state.base, None))


def _check(request: Request) -> None:
    _check_text("prompt", request.prompt)
    if request.profile not in {"general", "verification"}:
        raise Refused("invalid_profile", f"there is no profile {request.profile}: general or verification")
    if request.schema is not None and not isinstance(request.schema, dict):
        raise Refused("invalid_schema", "the schema is not an object, as a JSON Schema is here")
    problem = None if request.schema is None else schema_flaw(request.schema)
    if problem is not None:
        raise Refused("invalid_schema", problem)
    check_limits(request.timeout, request.usd)


def _check_text(name: str, text: str) -> None:
    if not text.strip():
        raise Refused("empty_message", f"the {name} is empty: there is nothing to tell the agent")
    if len(text) > LONGEST:
        message = f"the {name} has {len(text)} characters, and at most {LONGEST} are taken"
        raise Refused("message_too_long", message, hint="put it into a file, and name that")


def _check_agent(desk: Desk, state: FlowState, agents: Sequence[str]) -> None:
    _foreseen(desk, state.program, state.inputs, agents)


def _foreseen(desk: Desk, program: Program, inputs: Mapping[str, Json], agents: Sequence[str]) -> None:
    context = make_context(desk.around, desk.context.repo, agents)
    try:
        foresight.check(program, inputs, context.agents)
    except (UnknownAgentError, foresight.AgentMissingError) as error:
        hint = "name one of .stratum/config.yaml, or give agents=['NAME=COMMAND']"
        raise Refused("agent_not_found", error.message, hint=hint) from error
    finally:
        context.close()
