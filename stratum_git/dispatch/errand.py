"""What an attempt is about: the words, the limits and the expectations, out of the spec and the state."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stratum_git.agents.base import Profile
from stratum_git.core.certificate import is_certified, with_sections
from stratum_git.core.collisions import before_retry, warning
from stratum_git.core.program import function_of
from stratum_git.core.prompt import step_prompt, task_prompt
from stratum_git.core.questions import fan_of, outputs
from stratum_git.core.references import Unresolved, resolve, steps_named
from stratum_git.core.session_words import whole_prompt
from stratum_git.core.template import MissingField, render, render_message
from stratum_git.dispatch.judge import Expectations
from stratum_git.model.effects import Launch
from stratum_git.model.ids import Json, StepId
from stratum_git.model.sessions import Session
from stratum_git.model.spec import Command, Contract, Decompose, Dispatch, Inline, Isolation, Step, Task
from stratum_git.model.state import FannedOut, FlowState


@dataclass(frozen=True, slots=True)
class Errand:
    """One attempt, ready to be handed to an agent."""

    step: Step
    task: Task | None
    prompt: str
    """What an agent is told; ``words`` is the intent alone."""
    words: str
    title: str
    timeout: float | None
    isolation: Isolation
    setup: tuple[Command, ...]
    wants: Expectations
    model: str | None = None
    profile: Profile | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class Unclear:
    """The errand cannot be put into words: a reference or a template names what is not there."""

    why: tuple[str, ...]


def errand_for(state: FlowState, launch: Launch) -> Errand | Unclear:
    """Returns what the attempt is about."""
    step = state.program.steps[launch.step]
    fan = fan_of(state.step(launch.step))
    if isinstance(step.work, Dispatch) and fan is not None and launch.task is not None:
        task = fan.graph.tasks[fan.graph.index[launch.task]]
        return _task_errand(state, step, step.work, task, launch)
    return _step_errand(state, step, launch)


def title_of(state: FlowState, step: Step, task: Task | None) -> str:
    """Returns the subject of the commit that lands a result."""
    words = _intent(state, step) if task is None else _task_words(state, step, task)
    first = next((line.strip() for line in words.splitlines() if line.strip()), "")
    if task is None and state.book.session is not None:
        return first[:72].rstrip()
    name = str(task.id if task is not None else step.id)
    return f"{name}: {first}"[:72].rstrip(": ")


def message_of(state: FlowState, step: Step, task: Task, attempt: int) -> str | MissingField:
    """Returns the message of the commit that lands a result; a field may be missing of its template."""
    template = step.work.commit_message if isinstance(step.work, Dispatch) else None
    if template is None:
        return title_of(state, step, task)
    names: dict[str, Json] = {"flow": str(state.flow), "step": str(step.id), "attempt": attempt}
    rendered = render_message(template, task.fields, state.inputs, names)
    if isinstance(rendered, MissingField):
        return rendered
    return rendered.text.strip() or str(task.id)


def intent_of(state: FlowState, step: Step, task: Task | None) -> str:
    """Returns what a task, or a step that one agent does, is to be, in the words of the spec."""
    return (_intent(state, step) if task is None else _task_words(state, step, task)).strip()


def _task_words(state: FlowState, step: Step, task: Task) -> str:
    said = task.intent or _text(task.fields.get("description"))
    if said or not isinstance(step.work, Dispatch):
        return said
    rendered = render(step.work.intent_template, task.fields, state.inputs)
    return "" if isinstance(rendered, MissingField) else rendered.text


def _task_errand(
    state: FlowState, step: Step, work: Dispatch, task: Task, launch: Launch
) -> Errand | Unclear:
    template = task.intent if task.intent is not None else work.intent_template
    rendered = render(template, task.fields, state.inputs)
    if isinstance(rendered, MissingField):
        have = ", ".join(rendered.available) or "none"
        return Unclear(
            (f"intent_template names {rendered.field}, which the task does not have (it has: {have})",)
        )
    message = message_of(state, step, task, launch.attempt)
    if isinstance(message, MissingField):
        # Known before anybody has worked for a result that could not be told of.
        have = ", ".join(message.available) or "none"
        return Unclear(
            (f"commit_message names {message.field}, which the task does not have (it has: {have})",)
        )
    contract = _contract(state, work.task_contract)
    wants = Expectations(
        owned=task.files_owned,
        changes="none" if work.isolation == "none" else task.changes,
        contract=contract,
        ensure=work.task_ensure,
        verify=work.verify if task.verify is None else task.verify,
        names={"task": dict(task.fields), "input": dict(state.inputs)},
    )
    return Errand(
        step=step,
        task=task,
        prompt=task_prompt(rendered.text, task, contract, launch.findings, _beside(state, step, task)),
        words=rendered.text,
        title=title_of(state, step, task),
        timeout=task.timeout or work.timeout,
        isolation=work.isolation,
        setup=work.setup,
        wants=wants,
    )


def _beside(state: FlowState, step: Step, task: Task) -> tuple[str, ...]:
    """Returns what is known of tasks that changed the same places as the attempt before."""
    fan = state.step(step.id)
    if not isinstance(fan, FannedOut):
        return ()
    pairs = ((fan.graph.index[other], collision) for other, collision in before_retry(fan, task.id))
    return tuple(
        warning(title_of(state, step, fan.graph.tasks[i]), collision, fan.tasks[i], state.updated)
        for i, collision in pairs
    )


def _step_errand(state: FlowState, step: Step, launch: Launch) -> Errand | Unclear:
    function = function_of(state.program, step)
    given: dict[str, Json] = {}
    unresolved = []
    for name, reference in step.inputs.items():
        found = resolve(reference, state.inputs, outputs(state))
        if isinstance(found, Unresolved):
            unresolved.append(f"inputs.{name}: {found.reason}")
        else:
            given[name] = found.value
    if unresolved:
        return Unclear(tuple(unresolved))
    contract = _contract(state, function.output if function is not None else step.output_contract)
    ensure = (*(function.ensure if function is not None else ()), *step.ensure)
    names: dict[str, Json] = {"input": dict(state.inputs)}
    errand = Errand(
        step=step,
        task=None,
        prompt=step_prompt(_intent(state, step), given, contract, launch.findings),
        words=_intent(state, step),
        title=title_of(state, step, None),
        timeout=None,
        isolation="worktree",
        setup=(),
        wants=Expectations(
            contract=contract,
            schema=step.output_schema,
            ensure=ensure,
            names=names,
            guardrails=(*(function.guardrails if function is not None else ()), *step.guardrails),
            certificate=step.reasoning_template if is_certified(step) else None,
            graphs=_graphs(state, step),
        ),
        model=step.model or (function.model if function is not None else None),
    )
    return errand if state.book.session is None else _turn_errand(errand, state.book.session, launch)


def _turn_errand(errand: Errand, session: Session, launch: Launch) -> Errand:
    """Returns what a turn of a session is about."""
    terms = session.terms
    looks = terms.profile == "verification"
    return replace(
        errand,
        prompt=whole_prompt(session, launch.findings),
        timeout=terms.timeout,
        wants=replace(
            errand.wants,
            changes="none" if looks else "optional",
            schema=terms.schema if isinstance(terms.schema, dict) else None,
            verify=terms.verify,
        ),
        profile=terms.profile,
        usd=terms.usd,
    )


def _graphs(state: FlowState, step: Step) -> tuple[tuple[StepId, str], ...]:
    works = (other.work for other in state.program.flow.steps)
    sources = (work.source for work in works if isinstance(work, Dispatch))
    return tuple((step.id, source) for source in sources if step.id in steps_named(source))


def _intent(state: FlowState, step: Step) -> str:
    if state.book.session is not None:
        return state.book.session.turns[-1].message
    function = function_of(state.program, step)
    if function is not None:
        return function.intent or function.name
    intent = step.work.intent if isinstance(step.work, Inline | Decompose) else ""
    if is_certified(step) and step.reasoning_template is not None:
        intent = with_sections(intent, step.reasoning_template)
    return intent


def _contract(state: FlowState, name: str | None) -> Contract | None:
    return state.program.spec.contracts.get(name) if name else None


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
