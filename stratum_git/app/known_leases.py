"""The leases of a repository, for who asks about them all the time: an object never says anything else.

So the words of each are read once, and those that were written here never. Where the refs stand is looked up
each time, as files where they are files.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from stratum_git.git.objects import ObjectWriter
from stratum_git.git.refs import read_refs, tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.git.unaided import Unaided
from stratum_git.git.whereabouts import Undecided
from stratum_git.model.ids import Oid, RefName
from stratum_git.slots.leases import PREFIX, HeldLease, Lease, read_tokens, write_lease

MOST = 4096
"""Leases that are remembered: those used last."""


class KnownLeases:
    """Reads and writes leases, and remembers what they say. Safe for several threads."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self._known: OrderedDict[Oid, Lease] = OrderedDict()
        self._lock = threading.Lock()

    def write(self, writer: ObjectWriter, lease: Lease) -> Oid:
        """Writes a lease and returns its token."""
        token = write_lease(writer, lease)
        self._remember(token, lease)
        return token

    def one(self, ref: RefName) -> HeldLease | None:
        """Returns the lease of one task, or ``None``."""
        token = tip_nowait(self._repo, ref)
        return None if token is None else HeldLease(token, self._words([token])[token])

    def of(self, flow: str) -> dict[RefName, HeldLease]:
        """Returns the leases of a flow."""
        prefix = f"{PREFIX}{flow}/"
        try:
            refs = Unaided(str(self._repo.common_dir)).refs(prefix)
        except Undecided:
            refs = read_refs(self._repo, prefix)
        said = self._words(refs.values())
        return {ref: HeldLease(token, said[token]) for ref, token in sorted(refs.items())}

    def _words(self, tokens: Iterable[Oid]) -> dict[Oid, Lease | None]:
        said: dict[Oid, Lease | None] = {}
        with self._lock:
            for token in tokens:
                said[token] = self._known.get(token)
                if token in self._known:
                    self._known.move_to_end(token)
        unknown = [token for token, lease in said.items() if lease is None]
        for token, lease in read_tokens(self._repo, unknown).items():
            said[token] = lease
            if lease is not None:
                self._remember(token, lease)
        return said

    def _remember(self, token: Oid, lease: Lease) -> None:
        with self._lock:
            self._known[token] = lease
            self._known.move_to_end(token)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
