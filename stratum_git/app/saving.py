"""The protocol's calls about checkpoints, and what git can say of the time since one."""

from __future__ import annotations

from stratum_git.app.batches import leave
from stratum_git.app.desk import Desk
from stratum_git.app.refused import Refused
from stratum_git.app.settling import dismiss, settle, told_with_places
from stratum_git.core.answers import Answer
from stratum_git.core.checkpoints import find
from stratum_git.dispatch.clock import now
from stratum_git.git.diff import patch_since, paths_since
from stratum_git.git.repository import head_of
from stratum_git.model.ids import FlowId, Json
from stratum_git.model.messages import Checkpointed, Event, Reverted
from stratum_git.model.state import Checkpoint, FlowState

SHOWN = 100


def commit(desk: Desk, flow: FlowId, label: str, by: str) -> Answer:
    """Gives the present state of a flow a name."""
    name = label.strip()
    if not name:
        desk.look(flow)
        raise Refused("invalid_label", "label must be a non-empty string")
    code = head_of(desk.context.repo).oid
    with desk.alone(flow):
        state = desk.act(flow, lambda _: [Checkpointed(now(), by, name, code)])
    place = len(state.program.order) if state.cursor is None else state.program.position[state.cursor]
    return {
        "status": "committed",
        "flow_id": flow,
        "label": name,
        "step_number": place + 1,
        "current_step_id": state.cursor,
        "checkpoints": _labels(state),
        "code": code,
    }


def revert(desk: Desk, flow: FlowId, label: str, by: str) -> Answer:
    """Takes a flow back to a checkpoint. Files stay as they are; what changed in them since is told."""
    name = label.strip()

    def decide(state: FlowState) -> list[Event]:
        _found(state, name)
        if state.book.session is not None:
            # Its slot, its branch and its agent's memory do not go back.
            message = f"the flow {flow} is a session, which does not go back"
            raise Refused("is_a_session", message, hint="begin one at an earlier commit", flow_id=flow)
        return [Reverted(now(), by, name)]

    with desk.alone(flow):
        before = desk.look(flow)
        state = leave(desk, before, decide)
        if not _is_known(state, before):
            dismiss(desk, before)
        state = settle(desk, flow)
        answer = told_with_places(desk, state)
    code = _found(state, name).code
    changed = [] if code is None else paths_since(desk.context.repo, code)
    since: Answer = {"code": code, "changed": list(changed[:SHOWN]), "total": len(changed)}
    return {**answer, **({} if state.cursor is None else {"reverted_to": name}), "since": since}


def difference(desk: Desk, flow: FlowId, label: str) -> bytes:
    """Returns what changed in the checkout since a checkpoint, as a patch."""
    code = _found(desk.look(flow), label.strip()).code
    return b"" if code is None else patch_since(desk.context.repo, code)


def _found(state: FlowState, label: str) -> Checkpoint:
    found = find(state, label)
    if found is None:
        message = f"No checkpoint '{label}' on flow '{state.flow}'"
        raise Refused("checkpoint_not_found", message, available=_labels(state))
    return found


def _labels(state: FlowState) -> list[Json]:
    return [one.label for one in state.checkpoints]


def _is_known(state: FlowState, before: FlowState) -> bool:
    """Returns whether a flow can still come to the flow within that *before* was at."""
    known = (state, *(one.state for one in state.checkpoints))
    return before.cursor is not None and any(
        one.step(before.cursor) == before.step(before.cursor) for one in known
    )
