"""An estimate in plain words: a numbered plan, and what is known of its time and cost, with the sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stratum_git.core.experience import Range
from stratum_git.core.forecast import Estimate, Forecast
from stratum_git.core.program import function_of
from stratum_git.model.spec import Decompose, Dispatch, Gate, Inline, Step

LONGEST = 120
"""Characters of an intent that are shown."""
SHOWN = 8
"""Tasks of a chain that are named."""


def lines(found: Estimate) -> Iterator[str]:
    """Yields an estimate, line by line."""
    if not found.steps:
        yield "Nothing is left to be done."
        return
    yield from _numbered(found, found.steps, "")
    yield ""
    if not found.concurrent:
        yield "No agent is needed any more."
        return
    yield f"Agents in all: {count(found.agents)}, {found.concurrent} at once at most."
    yield f"Time: {_amount(found.seconds, lasting, found.most_seconds)}."
    yield f"Cost: {_amount(found.usd, money, found.most_usd)}."
    yield f"Tokens: {_amount(found.tokens, thousands, found.most_tokens)}."
    if any(step.kind == "gate" for step in found.steps):
        yield "The time that decisions take is not counted."
    yield f"From {_many(found.question.known.flows, 'former flow')} of this repository."


def _numbered(found: Estimate, steps: tuple[Forecast, ...], before: str) -> Iterator[str]:
    for number, one in enumerate(steps, start=1):
        place = f"{before}{number}."
        yield f"{place} {one.step.id}: {sentence(found, one)}"
        yield from (f"   {line}" for line in _measures(one))
        yield from _numbered(found, one.inner, place)


def sentence(found: Estimate, one: Forecast) -> str:
    """Returns what a step does, in a sentence or some."""
    parts = [_work(found, one), *_surroundings(one.step)]
    return " ".join(f"{part}." for part in parts)


def _work(found: Estimate, one: Forecast) -> str:
    match one.step.work:
        case Gate() as gate:
            return _gate(gate)
        case Dispatch() as work:
            return _dispatch(one, work)
        case _:
            pass
    if one.kind == "flow":
        return f"runs a flow of {_many(len(one.inner), 'step')}"
    client = found.question.driver == "client"
    who = "this session" if client else f"one agent ({one.step.agent or 'default'})"
    does = "splits the work into tasks" if one.kind == "decompose" else "does it"
    tries = f", in {one.tries} tries at most" if one.tries > 1 else ""
    what = _intent(found, one.step)
    return f"{who} {does}{tries}" + (f": {what}" if what else "")


def _intent(found: Estimate, step: Step) -> str:
    """Returns the first sentence of what is to be done."""
    function = function_of(found.question.program, step)
    text = step.work.intent if isinstance(step.work, Inline | Decompose) else ""
    words = " ".join((text if function is None else function.intent).split())
    first = words.partition(". ")[0].rstrip(".")
    return first if len(first) <= LONGEST else f"{first[: LONGEST - 3]}..."


def _gate(gate: Gate) -> str:
    if gate.policy != "gate":
        return f"is approved by itself (policy: {gate.policy})"
    ways = (
        f"approve: {'go on with ' + gate.on_approve if gate.on_approve else 'the flow is complete'}",
        f"revise: back to {gate.on_revise}",
        f"kill: {'go to ' + gate.on_kill if gate.on_kill else 'the flow ends'}",
    )
    return f"waits for a decision ({'; '.join(ways)})"


def _dispatch(one: Forecast, work: Dispatch) -> str:
    if one.problems:
        first = one.problems[0]
        return (
            f"cannot be run: {first.path}: {first.message}"
            if first.path
            else f"cannot be run: {first.message}"
        )
    return "; ".join(part for part in (_tasks(one, work), _checks(work), _landing(work)) if part)


def _tasks(one: Forecast, work: Dispatch) -> str:
    places = {
        "worktree": "each in a worktree of its own",
        "branch": "each in a clone of its own",
        "none": "all in the checkout, which they may only read",
    }
    known = one.dispatched
    if known is None:
        usual = one.tasks.likely if one.tasks is not None else None
        many = "as many tasks as there turn out to be" + (
            f" (usually {usual:g})" if usual is not None else ""
        )
        return f"{many}, {places[work.isolation]}, {work.max_concurrent} at once"
    said = f"{_many(known.tasks, 'task')}, {places[work.isolation]}, {one.concurrent} at once"
    if known.candidates:
        said += f", done by {known.candidates} candidates of which the best is taken"
    if known.rounds > 1:
        said += f", so in {known.rounds} rounds"
    if len(known.longest) > 1:
        names = known.longest if len(known.longest) <= SHOWN else (*known.longest[:SHOWN], "...")
        said += f" (one after another at least: {', '.join(names)})"
    if work.require != "all":
        said += f"; {'one is' if work.require == 'any' else f'{work.require} are'} enough"
    return said


def _checks(work: Dispatch) -> str:
    checks = len(work.verify) + len(work.task_ensure)
    said = f"each result is checked ({_many(checks, 'check')})" if checks else "results are not tested"
    return said + (f" and may be tried {work.task_retries + 1} times" if work.task_retries else "")


def _landing(work: Dispatch) -> str:
    if work.isolation == "none":
        return ""
    if work.merge == "manual":
        return "nothing is merged"
    tested = ", tested again when merged" if work.land_verify else ""
    return f"then they land on the branch one after another{tested}"


def _surroundings(step: Step) -> Iterator[str]:
    if step.skip_if is not None:
        yield "It may be left out"
    if step.max_iterations is not None:
        yield f"It may be repeated {step.max_iterations} times"
    if step.on_fail is not None:
        yield f"When it fails the flow goes to {step.on_fail}"
    if step.next is not None:
        yield f"Then the flow goes to {step.next}"


def _measures(one: Forecast) -> Iterator[str]:
    if one.kind == "gate" or one.inner:
        return
    yield f"agents: {count(one.agents)}; {one.agents.source}"
    yield f"time: {_amount(one.seconds, lasting, one.most_seconds)}"
    yield f"cost: {_amount(one.usd, money, one.most_usd)}"


def count(one: Range) -> str:
    """Returns a number of agents."""
    if one.likely is None:
        return "not known" if one.low is None else f"{one.low:g} at least" + _up_to(one.high)
    if one.low == one.high:
        return f"{one.likely:g}"
    return f"{one.low:g} to {one.high:g}, likely {one.likely:g}"


def _up_to(high: float | None) -> str:
    return "" if high is None else f", {high:g} at most"


def _amount(one: Range, say: Callable[[float], str], most: float | None) -> str:
    bound = "" if most is None else f"; at most {say(most)} by timeouts and budgets"
    if one.likely is None or one.low is None or one.high is None:
        least = "" if not one.low else f"at least {say(one.low)}; the rest is "
        return f"{least}not known ({one.source}){bound}"
    low, middle, high = say(one.low), say(one.likely), say(one.high)
    said = middle if low == high else f"{low} to {high}, likely {middle}"
    return f"{said} ({one.source}){bound}"


def lasting(seconds: float) -> str:
    """Returns a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def money(usd: float) -> str:
    """Returns an amount of US dollars."""
    return f"${usd:.2f}" if usd >= 0.1 or not usd else f"${usd:.4f}"


def thousands(value: float) -> str:
    """Returns a number of tokens."""
    return f"{value:.0f}" if value < 10_000 else f"{value / 1000:.0f}k"


def _many(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
