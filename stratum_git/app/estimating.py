"""What a flow will do and may take, asked before it is done: of a spec, or of a flow that is under way.

It reads the newest flows of the repository, so many and no more, and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stratum_git.app.config import Config, read_config
from stratum_git.app.surroundings import Surroundings
from stratum_git.core.estimate import estimate
from stratum_git.core.estimate_words import lines, sentence
from stratum_git.core.experience import Experience, Range, together, told_by
from stratum_git.core.forecast import Estimate, Forecast, Limits, Question
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program, unserved, unserved_by_client
from stratum_git.core.questions import fan_of, outputs
from stratum_git.dispatch.context import DEFAULT_TIMEOUT
from stratum_git.errors import StratumError, UserError
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId, Json, StepId, TaskId
from stratum_git.model.spec import Problem
from stratum_git.model.state import (
    Driver,
    Elected,
    Exhausted,
    FlowState,
    Merged,
    Parked,
    Program,
    Skipped,
    Standing,
    Stopped,
    Succeeded,
    Verified,
)
from stratum_git.store.flows import load
from stratum_git.store.past import Past, newest_flows

FLOWS = 30
"""Former flows that are read, the newest."""
EVENTS = 2000
"""Events that are read of all of them; a flow whose beginning lies further back tells nothing."""
OVER = (Verified, Exhausted, Stopped, Merged, Parked, Standing, Elected)


class InvalidSpecError(UserError):
    """The spec cannot be run; ``problems`` says why."""

    word = "INVALID_SPEC"

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        where = f"{first.path}: " if first.path else ""
        super().__init__(f"the spec cannot be run: {where}{first.message}", hint=first.hint)
        self.problems = tuple(problems)


def of_spec(
    around: Surroundings, text: str, flow: str | None, inputs: Mapping[str, Json], driver: Driver
) -> Estimate:
    """Returns what a spec's flow will do; raises InvalidSpecError. It needs no repository."""
    loaded = load_spec(text)
    if loaded.spec is None or loaded.problems:
        raise InvalidSpecError(loaded.problems)
    program = compile_program(loaded.spec, flow)
    if not isinstance(program, Program):
        raise InvalidSpecError(program)
    undone = unserved(program) if driver == "runner" else unserved_by_client(program)
    if undone:
        raise InvalidSpecError(undone)
    declared = program.flow.input.items()
    defaults = {name: row["default"] for name, row in declared if isinstance(row, dict) and "default" in row}
    repo = _repository(around)
    known = Experience() if repo is None else experience(repo)
    config = Config() if repo is None else read_config(repo.root)
    return _checked(_question(program, {**defaults, **inputs}, driver, known, config))


def of_flow(around: Surroundings, flow: FlowId) -> Estimate:
    """Returns what is left of a flow; raises UnknownFlowError."""
    repo = around.repository()
    state = load(repo, flow)[0].state
    known = experience(repo, without=flow)
    asked = _question(state.program, state.inputs, state.driver, known, read_config(repo.root))
    over = frozenset(
        step
        for step, now in zip(state.program.order, state.steps, strict=True)
        if isinstance(now, Succeeded | Skipped) or state.cursor is None
    )
    return _checked(
        Question(
            asked.program,
            asked.inputs,
            asked.driver,
            known,
            outputs=outputs(state),
            over=over,
            done=dict(_done(state)),
            limits=asked.limits,
            attempt=asked.attempt,
            spent=state.spent,
        )
    )


def experience(repo: Repository, without: FlowId | None = None) -> Experience:
    """Returns what the newest flows of a repository took; one that cannot be read tells nothing."""
    return together(_told(past) for past in newest_flows(repo, FLOWS, EVENTS) if past.flow != without)


def _told(past: Past) -> Experience:
    try:
        return told_by(past.program, past.events)
    except (StratumError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        # Somebody may have written its events by hand, so that they make no sense together. Nobody needs this
        # flow to know what is usual; who asks for the flow itself is told.
        return Experience()


def estimate_row(found: Estimate) -> dict[str, Json]:
    """Returns an estimate as JSON: ``contracts/estimate.v1.schema.json``."""
    return {
        "flow": found.question.program.flow.name,
        "driver": found.question.driver,
        "steps": [_step(found, number, one) for number, one in enumerate(found.steps, start=1)],
        "agents": _range(found.agents),
        "concurrent": found.concurrent,
        "seconds": {**_range(found.seconds), "at_most": found.most_seconds},
        "usd": {**_range(found.usd), "at_most": found.most_usd},
        "tokens": {**_range(found.tokens), "at_most": found.most_tokens},
        "history": {"flows": found.question.known.flows, "tries": len(found.question.known.tries)},
        "text": "\n".join(lines(found)),
    }


def _question(
    program: Program, inputs: Mapping[str, Json], driver: Driver, known: Experience, config: Config
) -> Question:
    if driver == "client":
        # Nobody ends what a client does.
        return Question(program, inputs, driver, known)
    limits = {name: Limits(spec.timeout or DEFAULT_TIMEOUT, spec.usd) for name, spec in config.agents.items()}
    return Question(program, inputs, driver, known, limits=limits, attempt=Limits(DEFAULT_TIMEOUT))


def _checked(question: Question) -> Estimate:
    found = estimate(question)
    problems = [problem for step in found.steps for problem in step.problems]
    if problems:
        raise InvalidSpecError(problems)
    return found


def _repository(around: Surroundings) -> Repository | None:
    try:
        return around.repository()
    except StratumError:
        return None


def _done(state: FlowState) -> Iterator[tuple[StepId, frozenset[TaskId]]]:
    for step, now in zip(state.program.order, state.steps, strict=True):
        fan = fan_of(now)
        if fan is not None:
            pairs = zip(fan.graph.tasks, fan.tasks, strict=True)
            yield step, frozenset(task.id for task, at in pairs if isinstance(at, OVER))


def _step(found: Estimate, number: int, one: Forecast) -> Json:
    known = one.dispatched
    graph: dict[str, Json] = {}
    if one.tasks is not None:
        graph = {"tasks": _range(one.tasks), "rounds": None, "longest_chain": None, "candidates": None}
    if known is not None:
        chain: list[Json] = [*known.longest]
        graph |= {"rounds": known.rounds, "longest_chain": chain, "candidates": known.candidates}
    return {
        "number": number,
        "step_id": one.step.id,
        "kind": one.kind,
        "words": sentence(found, one),
        "agents": _range(one.agents),
        "concurrent": one.concurrent,
        "tries": one.tries,
        **graph,
        "seconds": {**_range(one.seconds), "at_most": one.most_seconds},
        "usd": {**_range(one.usd), "at_most": one.most_usd},
        "tokens": {**_range(one.tokens), "at_most": one.most_tokens},
        **(
            {"steps": [_step(found, n, inner) for n, inner in enumerate(one.inner, start=1)]}
            if one.inner
            else {}
        ),
    }


def _range(one: Range) -> dict[str, Json]:
    return {"low": one.low, "likely": one.likely, "high": one.high, "source": one.source}
