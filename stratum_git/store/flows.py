"""Flows as commits: write, publish by compare-and-swap, load, list.

An event is one commit on ``refs/stratum/flows/<flow>``: its tree holds the state after it, its message is
for people. Whatever else an event changes (leases, results, the target branch) moves in the same ref
transaction, so it all appears together or not at all. A writer that lost a race is told so and writes
nothing; it loads what the other wrote and decides again.

The disk is waited for three times, each for what the next needs to be there:

1. the pack and its index, side by side, since git takes an index that has its name for whole. A power cut
   before that leaves files that no git looks at, which ``git/compaction.py`` deletes;
2. the values of the refs, in git's locks, since an empty ref blocks whoever reads it, and the folder of the
   pack, since a ref must not speak of what is not there. A cut leaves a pack that is kept and nobody's, and
   locks of ours, which ``git/stale_locks.py`` deletes;
3. the folders of the refs, since only then a ref that has moved stays. A cut leaves all that the event is,
   and each ref at its old value or at its new one; nobody had been told that it counts.

Where an event moves its flow alone, the value is flushed beside the pack; what is waited for between is the
folder of the pack, and nothing where names come to be on the disk in order (``git/journalled.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Self, cast

from stratum_git.core import codec
from stratum_git.core.narration import narrate
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.compaction import WIDTH, compact_at_last, compact_soon
from stratum_git.git.memory import wait_for_pruning
from stratum_git.git.objects import ObjectWriter, Signature, read_objects, read_tree
from stratum_git.git.pack_writer import PackWriter, RunWriter
from stratum_git.git.process import GitFailed
from stratum_git.git.ref_packing import pack_refs_if_many
from stratum_git.git.refs import Applied, LostRace, RefSession, RefUpdate, read_ref
from stratum_git.git.repository import Repository
from stratum_git.git.stowing import stow_soon
from stratum_git.model.effects import Effect
from stratum_git.model.ids import FlowId, Oid, RefName
from stratum_git.model.messages import (
    Checkpointed,
    Event,
    Gathered,
    Landed,
    LandedLater,
    Outcome,
    ParkedResult,
    Started,
    StepReported,
    TaskReported,
)
from stratum_git.model.resolutions import ResolvingBegan, ResolvingEnded
from stratum_git.model.state import FlowState
from stratum_git.model.values import dataclass
from stratum_git.store.contents import LARGEST, names_of, state_in
from stratum_git.store.listing import PREFIX, UnknownFlowError, flow_ref
from stratum_git.store.trees import TreeCache

HEALINGS = 20
"""How often a move of refs is tried again because a git of somebody's deleted what they were to point to."""
WHOLE = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """An event to record, the state after it, and what it made happen."""

    event: Event
    after: FlowState
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """A flow as the repository has it: the commit of its last event, and its state."""

    tip: Oid
    state: FlowState


@dataclass(frozen=True, slots=True)
class Lost:
    """Another writer was first; nothing was written."""

    ref: RefName
    detail: str


class FlowLog:
    """Writes one flow. It remembers what it wrote, so that an event costs what it changed."""

    def __init__(
        self,
        repo: Repository,
        writer: ObjectWriter,
        committer: Signature,
        spec: str,
        refs: RefSession | None = None,
    ) -> None:
        self._repo = repo
        self._writer = writer
        self._committer = committer
        # Nobody reads an event before the ref moves, so its objects come to be together.
        # Whoever writes many flows gives one session for all of them, and closes it himself.
        self._refs = refs or RefSession(repo, "stratum-git", durable=writer.durable)
        self._own = PackWriter(repo, durable=writer.durable, late=True, blanks=self._refs.blanks)
        self.spec = self._own.blob(spec.encode())
        self._trees = TreeCache(self._own)
        self._is_shared = refs is not None
        self._appended = 0

    @property
    def writer(self) -> ObjectWriter:
        """Returns what writes objects that come to be with the next event, and not without one."""
        return self._own

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        wait_for_pruning(self._repo.common_dir.parent)
        self.heal()
        if not self._is_shared:
            self._refs.close()
        if self._appended:
            tidy_up(self._repo, self._writer)

    def append(
        self, flow: FlowId, tip: Oid | None, entries: Sequence[Entry], extra: Sequence[RefUpdate] = ()
    ) -> Stored | Lost:
        """Records *entries* after commit *tip* (``None``: a new flow), and moves *extra* with them."""
        commit = self._root(flow, entries[0]) if tip is None else tip
        for entry in entries:
            commit = self._commit(entry, commit)
        if isinstance(self._writer, RunWriter):
            # What the attempts left is in memory alone where only this event is to speak of it.
            self._own.take(self._writer.give(oid for entry in entries for oid in _results(entry.event)))
        updates = [RefUpdate(flow_ref(flow), commit, tip), *extra]
        answer = self._moved(updates)
        if isinstance(answer, LostRace):
            return Lost(answer.ref, answer.detail)
        self._appended += 1
        self.heal(glance=True)
        if self._appended % WIDTH == 0:
            compact_soon(self._repo)
            stow_soon(self._repo, self._writer.memory)
        self._own.settle()
        self._writer.settle()
        self._refs.blanks.renew()
        return Stored(commit, entries[-1].after)

    def heal(self, *, glance: bool = False) -> int:
        """Writes again what a git of somebody's deleted before a ref had it; returns how many objects."""
        return self._own.heal(glance=glance) + self._writer.heal(glance=glance)

    def wait(self) -> None:
        """Waits until the files are made that the next event is to need."""
        self._refs.blanks.wait()

    def _moved(self, updates: Sequence[RefUpdate]) -> Applied | LostRace:
        # The commit of the event is in a pack of ours; where it is a file of its own git looks for it.
        alone = None if self._repo.shared_permissions else partial(self._sync_with, updates[0].ref)
        # Git looks for what a ref is to speak of before it takes the lock; the rest is flushed meanwhile.
        ready = self._own.reveal
        for _ in range(HEALINGS):
            try:
                return self._refs.transact(updates, self._sync, ready=ready, alone=alone)
            except GitFailed as error:
                if b"nonexistent object" not in error.stderr:
                    raise
                self.heal()
        return self._refs.transact(updates, self._sync, ready=ready)

    def _sync(self) -> None:
        self._writer.sync()
        self._own.sync()

    def _sync_with(self, ref: RefName, value: int) -> None:
        self._writer.sync()
        self._own.reveal_with(value, f"{self._repo.common_dir}/{ref}".rpartition("/")[0])

    def _root(self, flow: FlowId, first: Entry) -> Oid:
        """Returns the commit under the first event: it keeps the code's history off the first-parent line."""
        tree = self._own.tree({"spec.yaml": ("100644", self.spec)})
        author = Signature(first.event.by, "stratum-git@localhost", first.event.at, self._committer.tz)
        return self._own.commit(tree, (), f"Flow {flow}\n", author, author)

    def _commit(self, entry: Entry, parent: Oid) -> Oid:
        tree = self._trees.write(entry.after, entry.event, self.spec)
        message = narrate(entry.event, entry.after, entry.effects).text()
        author = Signature(entry.event.by, "stratum-git@localhost", entry.event.at, self._committer.tz)
        committer = Signature(self._committer.name, self._committer.email, entry.event.at, self._committer.tz)
        parents = tuple(dict.fromkeys((parent, *_results(entry.event))))
        return self._own.commit(tree, parents, message, author, committer)


def tidy_up(repo: Repository, writer: ObjectWriter) -> None:
    """Leaves the repository such that nobody's git is slower for what was written, if that was much."""
    pack_refs_if_many(repo, PREFIX)
    stow_soon(repo, writer.memory, at_last=True)
    compact_at_last(repo)


def load(repo: Repository, flow: FlowId) -> tuple[Stored, str]:
    """Returns a flow as it is now, and the text of its spec; raises UnknownFlowError."""
    tip = read_ref(repo, flow_ref(flow))
    if tip is None:
        raise UnknownFlowError(flow)
    return load_at(repo, tip)


def load_at(repo: Repository, tip: Oid) -> tuple[Stored, str]:
    """Returns the flow as it was after the event of commit *tip*, and the text of its spec."""
    tree = read_tree(repo, tip)
    paths = [path for path in (*names_of(tree), "spec.yaml") if path in tree]
    found = read_small_objects(repo, [str(tree[path].oid) for path in paths], LARGEST)
    files = {p: o.data for p, o in zip(paths, found, strict=True) if o is not None}
    if len(files) < len(paths) or sum(map(len, files.values())) > WHOLE:
        raise codec.UnreadableError("a file of the flow is missing, or too large to be one")
    state, spec = state_in(files)
    return Stored(tip, state), spec


def first_spec(repo: Repository, tip: Oid) -> Oid:
    """Returns the blob of the spec that a flow began with, *tip* being any later commit of it."""
    asked = ("rev-list", "--first-parent", "--max-parents=0", "--max-count=1", tip)
    root = repo.git.run(*asked).stdout.decode().strip()
    return read_tree(repo, root)["spec.yaml"].oid


def spec_at(repo: Repository, tip: Oid) -> Oid | None:
    """Returns the blob of the spec that a flow has at commit *tip*, if there is one."""
    found = read_tree(repo, tip).get("spec.yaml")
    return None if found is None else found.oid


def events_between(repo: Repository, old: Oid, new: Oid) -> tuple[Event, ...]:
    """Returns the events after commit *old* up to *new*, oldest first. *old* is an ancestor of *new*."""
    chain: list[Oid] = []
    at = new
    while at != old:
        chain.append(at)
        commit = read_objects(repo, [at])[0]
        parent = b"" if commit is None else commit.data.partition(b"\nparent ")[2].partition(b"\n")[0]
        if not parent:
            raise codec.UnreadableError(f"the history of the flow does not contain {old}")
        at = Oid(parent.decode())
    found = read_objects(repo, [f"{oid}:state.json" for oid in reversed(chain)])
    heads = (codec.load(blob.data) for blob in found if blob is not None)
    events = (head.get("event") if isinstance(head, dict) else None for head in heads)
    return tuple(cast("Event", codec.decode_any(event)) for event in events)


def _results(event: Event) -> tuple[Oid, ...]:
    """Returns the commits that an event speaks of: as parents they live as long as the event does."""
    match event:
        case Started(base=base):
            return (base,)
        case StepReported(outcome=outcome) | TaskReported(outcome=outcome):
            return _kept(outcome)
        case Gathered(reports=reports):
            return tuple(oid for report in reports for oid in _kept(report.outcome))
        case Checkpointed(code=code):
            return () if code is None else (code,)
        case Landed(old=old, new=new, entries=entries) | LandedLater(old=old, new=new, entries=entries):
            conflicts = tuple(e.conflict for e in entries if isinstance(e, ParkedResult))
            return (*(() if new == old else (new,)), *conflicts)
        case ResolvingBegan(base=base, conflict=conflict):
            return (base, conflict)
        case ResolvingEnded(result=result, conflict=conflict):
            return tuple(oid for oid in (result, conflict) if oid is not None)
        case _:
            return ()


def _kept(outcome: Outcome) -> tuple[Oid, ...]:
    kept = outcome.result
    return () if kept is None or kept == getattr(outcome, "base", None) else (kept,)
