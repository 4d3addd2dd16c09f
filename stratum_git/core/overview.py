"""A whole flow as ``query flow`` shows it: where it is, its steps, what they produced, what was noted."""

from __future__ import annotations

from stratum_git.core.answers import Answer, trace
from stratum_git.core.program import function_of
from stratum_git.core.questions import outputs
from stratum_git.core.wording import SCHEMA_VERSION, status_word, terminal_word
from stratum_git.model.ids import Json
from stratum_git.model.spec import Gate, Step
from stratum_git.model.state import FlowState, Program


def overview(state: FlowState) -> Answer:
    """Returns the flow with the protocol's keys; ``contracts/flow-state.v1`` describes them."""
    book, program = state.book, state.program
    cursor, length = state.cursor, len(program.order)
    return {
        "_schema_version": SCHEMA_VERSION,
        "flow_id": state.flow,
        "flow_name": program.flow.name,
        "status": status_word(state.status, killed=book.killed),
        "current_step_id": cursor,
        "current_idx": length if cursor is None else program.position[cursor],
        "round": book.round,
        "rounds_count": len(book.rounds),
        "step_count": length,
        "terminal_status": terminal_word(state.status, killed=book.killed),
        "step_outputs": {str(step): made for step, made in outputs(state).items()},
        "records": trace(tuple(book.records)),
        "rounds": [trace(tuple(records)) for records in book.rounds],
        "ordered_steps": [_step(program, program.steps[step]) for step in program.order],
    }


def _step(program: Program, step: Step) -> Json:
    function = function_of(program, step)
    return {
        "id": step.id,
        "function": "" if function is None else function.name,
        "mode": "gate" if isinstance(step.work, Gate) else "step",
    }
