"""Gives back the slots of sessions that nobody has said anything to for long. Their work is on refs first.

Such a session can be gone on with: it gets another slot, at the tip of its branch, and its agent is told so.
"""

from __future__ import annotations

from filelock import FileLock, Timeout

from stratum_git.app.config import read_config
from stratum_git.app.places import folders_of
from stratum_git.app.recovery import place_of, rescued, see_out
from stratum_git.app.retention import OVER, age
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.workshop import make_context
from stratum_git.core.sessions import is_at_rest
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.model.ids import FlowId
from stratum_git.slots.lodgers import slot_of
from stratum_git.store.flows import load
from stratum_git.store.listing import list_flows


def give_back_quiet(around: Surroundings, older_than: float | None, *, dry_run: bool = False) -> list[str]:
    """Gives back the slots of sessions that rest for *older_than* seconds; returns whose, by their paths."""
    repo = around.repository()
    config = read_config(repo.root)
    folders = folders_of(around, repo, config)
    limit = now() - (age(config.retention) if older_than is None else older_than)
    found = [header for header in list_flows(repo).headers if header.session is not None]
    quiet = [header.flow for header in found if header.status in OVER and header.updated <= limit]
    places = {flow: slot_of(folders, flow) for flow in quiet}
    lodged = {flow: str(path) for flow, path in places.items() if path is not None}
    if dry_run or not lodged:
        return [*lodged.values()]
    context = make_context(around, repo, ())
    try:
        return [path for flow, path in lodged.items() if _is_left(context, flow, limit)]
    finally:
        context.close()


def _is_left(context: Context, flow: FlowId, limit: float) -> bool:
    """Gives back the slot of a session, unless somebody has gone on with it meanwhile."""
    lock = FileLock(context.folders.locks / f"flow-{flow}.lock", thread_local=False, mode=0o600)
    try:
        with lock.acquire(timeout=0):
            state = load(context.repo, flow)[0].state
            if not is_at_rest(state) or state.updated > limit:
                return False
            see_out(context, flow)
            for slot in context.pool.recover(flow):
                place = place_of(context, slot)
                rescued(context, place)
                place.close()
            return True
    except Timeout:
        return False
