"""Whether a flow holds together: its steps have ids of their own and an order that can be kept."""

from __future__ import annotations

from stratum_git.core.order import needs_among
from stratum_git.core.shape_notes import Place
from stratum_git.core.topology import circles, kahn
from stratum_git.core.validate_step import Scope, check_step
from stratum_git.core.validate_terms import Terms
from stratum_git.model.ids import StepId
from stratum_git.model.spec import Flow, Spec, Step


def check_flow(spec: Spec, flow: Flow, terms: Terms) -> None:
    """Notes everything that does not fit in one flow."""
    place: Place = ("flows", flow.name)
    terms.name(place, "flow name", flow.name)
    if flow.output is not None:
        terms.known((*place, "output"), "contract", flow.output, spec.contracts)
    _ids(flow, terms)
    needs = needs_among(flow.steps)
    scope = Scope(
        spec=spec,
        flow=flow,
        terms=terms,
        steps=_first_by_id(flow),
        needs=needs,
        position={name: index for index, name in enumerate(kahn(needs))},
    )
    for index, step in enumerate(flow.steps):
        check_step(scope, (*place, "steps", index), step)
    _circles(scope, place)


def _first_by_id(flow: Flow) -> dict[StepId, Step]:
    first: dict[StepId, Step] = {}
    for step in flow.steps:
        if step.id:
            first.setdefault(step.id, step)
    return first


def _ids(flow: Flow, terms: Terms) -> None:
    """Notes ids that are no names, or not their step's own.

    Ids that differ only in case are one: they become files, which some systems cannot tell apart.
    """
    seen: dict[str, Step] = {}
    for index, step in enumerate(flow.steps):
        place: Place = ("flows", flow.name, "steps", index, "id")
        terms.name(place, "step id", step.id)
        before = seen.setdefault(step.id.lower(), step)
        if before is not step and step.id:
            how = "is used twice" if before.id == step.id else f"differs from {before.id} only in case"
            message = f"the step id {step.id[:80]} {how}, on lines {before.line} and {step.line}"
            terms.notes.semantic(place, message, "give one of them another id")


def _circles(scope: Scope, place: Place) -> None:
    index = {step.id: at for at, step in reversed(tuple(enumerate(scope.flow.steps)))}
    for path in circles(scope.needs):
        if len(path) > 2:  # a step that needs itself was noted where it says so
            names = path if len(path) <= 12 else (*path[:6], "...", *path[-5:])
            message = f"steps wait for each other: {' -> '.join(names)}"
            scope.terms.notes.semantic(
                (*place, "steps", index[path[0]]), message, "drop one of these dependencies"
            )
