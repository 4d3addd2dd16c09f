"""A flow that nobody runs, taken up to land what was left, or to undo what landed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from stratum_git.app.running import BusyFlowError
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.teller import tell
from stratum_git.app.workshop import make_context, signature
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.journal import Beaten, Journal
from stratum_git.dispatch.landing import follow
from stratum_git.dispatch.publishing import result_updates
from stratum_git.errors import BugError, HostError, UserError
from stratum_git.git.checkout import Refused
from stratum_git.model.ids import FlowId
from stratum_git.model.messages import Event, Synced
from stratum_git.model.state import FlowState
from stratum_git.store.flows import FlowLog, Stored, load

PATIENCE = 2.0
"""Seconds to wait for a server that is in the middle of a call about the flow."""
RACES = 100


class InTheWayError(UserError):
    """A checkout of the target is in the way; nothing was moved."""

    word = "CHECKOUT_IN_THE_WAY"


@dataclass
class Bench:
    """A flow in hand: nobody else runs it meanwhile, or, for a mere look, anybody may."""

    context: Context
    seen: Stored
    _journal: Journal | None = None

    @property
    def stored(self) -> Stored:
        """Returns the flow as it is, or as it was when it was looked at."""
        return self.seen if self._journal is None else self._journal.stored

    @property
    def state(self) -> FlowState:
        """Returns the state after the last event."""
        return self.stored.state

    @property
    def journal(self) -> Journal:
        """Returns what writes the flow."""
        if self._journal is None:
            raise BugError(f"{self.state.flow} was only to be looked at")
        return self._journal

    def record(self, events: Sequence[Event]) -> bool:
        """Appends *events*, and moves what they move; returns whether nobody was there before."""
        written = self.journal.record(
            events, lambda *_: result_updates(self.context.repo, self.state.flow, events)
        )
        recorded = {id(entry.event) for entry in written.entries}
        return not isinstance(written, Beaten) and all(id(event) in recorded for event in events)

    def catch_up(self, held: frozenset[Path] = frozenset()) -> tuple[str, ...]:
        """Lets checkouts follow the targets that the flow has moved; returns what could not, in words.

        *held* are those whose index the caller holds.
        """
        told: list[str] = []
        trees = self.context.merger.trees
        for target in dict.fromkeys(one.target for one in self.state.unsynced):
            notes: list[str] = []
            for one in self.state.unsynced:
                if one.target == target:
                    notes += follow(self.context.repo, target, one.old, one.new, held, trees)
            event: Event = Synced(now(), "stratum-git", target, tuple(notes))
            self.journal.record([event], lambda *_: [])
            told += notes
        return tuple(told)


@contextmanager
def at_bench(around: Surroundings, flow: FlowId, *, is_look: bool = False) -> Iterator[Bench]:
    """Takes a flow in hand; raises UnknownFlowError, and BusyFlowError when somebody runs it.

    Whoever was killed in the middle of this is caught up with first: his checkouts follow. A mere look moves
    nothing, and waits for nobody.
    """
    repo = around.repository()
    load(repo, flow)
    context = make_context(around, repo, ())
    lock = FileLock(context.folders.locks / f"flow-{flow}.lock", thread_local=False, mode=0o600)
    try:
        if is_look:
            yield Bench(context, load(repo, flow)[0])
            return
        lock.acquire(timeout=PATIENCE, poll_interval=0.02)
        stored, spec = load(repo, flow)
        with FlowLog(repo, context.writer, signature(repo), spec) as log:
            bench = Bench(context, stored, Journal(repo, log, stored))
            bench.catch_up()
            yield bench
        tell(repo.common_dir, bench.journal.stored.tip, bench.journal.state)
    except Timeout as error:
        hint = f"wait for its end, or end it: `stratum-git cancel {flow}`"
        raise BusyFlowError(f"another process runs the flow {flow}", hint=hint) from error
    finally:
        context.close()
        lock.release()


def in_the_way(refused: Refused, flow: FlowId, verb: str) -> InTheWayError:
    """Returns what is said to whoever has something in a checkout that is in the way."""
    what = f": {', '.join(refused.paths)}" if refused.paths else ""
    hint = f"commit it, or move it away, then `stratum-git {verb} {flow}` again; nothing was changed"
    return InTheWayError(f"{refused.reason}{what}", hint=hint)


def restless(flow: FlowId) -> HostError:
    """Returns what is said when others were always there before."""
    return HostError(f"others moved what {flow} was to move, {RACES} times in a row", hint="call it again")
