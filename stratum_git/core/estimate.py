"""What a flow will do and may take, before any of it is done: an estimate that says where it is from.

It is a function of the spec, the inputs, what is known of task graphs, and what former flows took. Where
nothing is known, nothing is said: a number is ``None``, and its source says why. What bounds a number
(a timeout, a budget) is told beside it as ``at_most``, and is no guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from stratum_git.core.estimate_dispatch import dispatch
from stratum_git.core.experience import Asked, Range, agent_of_task, likely
from stratum_git.core.forecast import (
    Estimate,
    Forecast,
    Question,
    StepKind,
    capped,
    least,
    product,
    seconds_of,
    skippable,
    times,
    total,
)
from stratum_git.core.program import compile_program, tries_of
from stratum_git.core.references import Unresolved, resolve
from stratum_git.model.spec import Call, Decompose, Dispatch, Gate, Inline, Step, SubFlow
from stratum_git.model.state import Program


def estimate(question: Question) -> Estimate:
    """Returns what a flow will do and may take."""
    program = question.program
    steps = tuple(
        _forecast(question, program.steps[name]) for name in program.order if name not in question.over
    )
    works = [step for step in steps if step.kind != "gate"]
    left = question.left_for(None)
    agents = total([step.agents for step in steps])
    return Estimate(
        question,
        steps,
        # What a client does by itself is no dispatch.
        agents=capped(agents, left.dispatches) if question.driver == "runner" else agents,
        seconds=total([step.seconds for step in steps]),
        usd=total([step.usd for step in steps]),
        tokens=total([step.tokens for step in steps]),
        concurrent=max((step.concurrent for step in steps), default=0),
        most_seconds=least(_all([step.most_seconds for step in works]), seconds_of(left)),
        most_usd=least(_all([step.most_usd for step in works]), left.usd),
        most_tokens=least(_all([step.most_tokens for step in works]), left.tokens),
    )


def _all(bounds: Sequence[float | None]) -> float | None:
    return None if None in bounds else sum(bound for bound in bounds if bound is not None)


def _forecast(question: Question, step: Step) -> Forecast:
    match step.work:
        case Gate():
            return Forecast(step, "gate")
        case Inline():
            return _single(question, step, "inline")
        case Call():
            return _single(question, step, "function")
        case Decompose():
            return _single(question, step, "decompose")
        case SubFlow(flow=name):
            return _flow(question, step, name)
        case Dispatch() as work:
            return dispatch(question, step, work)
        case _ as never:
            assert_never(never)


def _single(question: Question, step: Step, kind: StepKind) -> Forecast:
    tries = tries_of(question.program, step)
    agent = agent_of_task(step, None)
    asked = Asked(question.driver, question.program.flow.name, step.id, agent, "step")
    limits = question.limits.get(agent, question.attempt)
    left = question.left_for(step)
    return skippable(
        Forecast(
            step,
            kind,
            agents=Range(1, 1, tries, f"one, {tries} tries at most" if tries > 1 else "one"),
            seconds=times(likely(question.known, asked, "seconds"), 1, 1, tries),
            usd=times(likely(question.known, asked, "usd"), 1, 1, tries),
            tokens=times(likely(question.known, asked, "tokens"), 1, 1, tries),
            concurrent=1,
            tries=tries,
            most_seconds=least(product(limits.seconds, tries), seconds_of(left)),
            most_usd=least(product(limits.usd, tries), left.usd),
            most_tokens=left.tokens,
        )
    )


def _flow(question: Question, step: Step, name: str) -> Forecast:
    """Returns the steps of the flow that a step runs as one."""
    program = compile_program(question.program.spec, name)
    if not isinstance(program, Program):
        return Forecast(step, "flow", problems=program)
    found = {key: resolve(text, question.inputs, question.outputs) for key, text in step.inputs.items()}
    inputs = {key: one.value for key, one in found.items() if not isinstance(one, Unresolved)}
    known, limits = question.known, question.limits
    inner = estimate(
        Question(program, inputs, question.driver, known, limits=limits, attempt=question.attempt)
    )
    return skippable(
        Forecast(
            step,
            "flow",
            inner.agents,
            inner.seconds,
            inner.usd,
            inner.tokens,
            inner.concurrent,
            tries=step.retries,
            most_seconds=product(inner.most_seconds, step.retries),
            most_usd=product(inner.most_usd, step.retries),
            most_tokens=product(inner.most_tokens, step.retries),
            inner=inner.steps,
        )
    )
