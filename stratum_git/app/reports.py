"""Reports about one flow that come together: recorded as one, in the order in which they came.

Each comes to what it would come to if they had been made one by one. So none is recorded after one from which
something follows, before that is done: landing, stopping others, starting a flow within.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from stratum_git.app.asked import Asked
from stratum_git.app.batches import is_anybody_unwanted
from stratum_git.app.desk import PATIENCE, Desk
from stratum_git.app.refused import Refused
from stratum_git.app.settling import DONE, settle
from stratum_git.core.questions import outstanding
from stratum_git.model.ids import FlowId
from stratum_git.model.state import FlowState


def record(desk: Desk, flow: FlowId, asked: Asked) -> FlowState:
    """Records what *asked* comes to, and does what follows from it; returns the state after that.

    Others who report meanwhile are recorded with it. Raises Refused where another process, or a call from
    which much follows, is at work on the flow for too long.
    """
    line = desk.line_of(flow)
    deal = partial(_deal, desk, flow)
    if not line.pass_through(asked, deal, patience=PATIENCE, may_leave=_is_undecided):
        raise Refused("flow_busy", f"another call is at work on the flow {flow}", flow_id=flow)
    return asked.outcome()


def is_at_rest(state: FlowState) -> bool:
    """Returns whether nothing follows from a state that somebody has to do."""
    return not is_anybody_unwanted(state) and not any(isinstance(one, DONE) for one in outstanding(state))


def _is_undecided(asked: Asked) -> bool:
    return asked.state is None


def _deal(desk: Desk, flow: FlowId, asked: Sequence[Asked]) -> int:
    """Records the first of *asked*; returns how many are over. Of the next one what follows is to be done."""
    try:
        with desk.alone(flow):
            count = 1 if asked[0].state is not None else desk.act_together(flow, asked, is_at_rest)
            last = asked[count - 1]
            if last.state is None or is_at_rest(last.state):
                return count
            if count > 1:
                # Nobody has to wait for what follows from the call of another.
                return count - 1
            last.state = settle(desk, flow)
            return count
    except Exception as error:  # noqa: BLE001 - told to those whose calls they are
        return _failed(asked, error)


def _failed(asked: Sequence[Asked], error: Exception) -> int:
    """Tells those who are not recorded that the flow cannot be had, or the first that what follows failed."""
    if asked[0].state is not None:
        # It is recorded. Whoever has the flow does what follows.
        if not (isinstance(error, Refused) and error.kind == "flow_busy"):
            asked[0].error = error
        return 1
    for one in asked:
        one.error = error
    return len(asked)
