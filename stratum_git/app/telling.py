"""Tells a flow what a verification of its work came to. Done again, it changes nothing."""

from __future__ import annotations

from stratum_git.core.sessions import report_of
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.journal import Journal
from stratum_git.model.sessions import ReviewBegan, Reviewed
from stratum_git.model.state import FlowState
from stratum_git.store.flows import FlowLog, load
from stratum_git.store.listing import UnknownFlowError


def tell(context: Context, state: FlowState) -> None:
    """Records in the flow whose work was verified what came of it, unless it is there already."""
    session, report = state.book.session, report_of(state)
    task = None if session is None else session.terms.review
    if session is None or task is None or task.flow is None or report is None:
        return
    try:
        stored, spec = load(context.repo, task.flow)
    except UnknownFlowError:
        # Somebody deleted it; the verification itself has what was found.
        return
    began = ReviewBegan(state.started, session.turns[0].by, state.flow, task)
    found = Reviewed(now(), "stratum-git", state.flow, report)
    with FlowLog(context.repo, context.writer, context.identity, spec) as log:
        Journal(context.repo, log, stored).record([began, found], lambda *_: [])
