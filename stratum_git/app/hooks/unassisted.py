"""What hooks look up, without git: leases and open flows, as git's files have them."""

from __future__ import annotations

from stratum_git.git.unaided import Unaided, unaided
from stratum_git.git.whereabouts import Undecided
from stratum_git.slots.lease_words import LeaseWords, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratum_git.app.hooks.asked import Ground
    from stratum_git.store.headers import Listing

LEASES = "refs/stratum/leases/"
LEASE = 1024 * 1024
"""Bytes of a lease."""


class Unassisted:
    """Looks up what there is without git; raises Undecided where git has to be asked."""

    def __init__(self, ground: Ground) -> None:
        self._checkout = ground.checkout
        self._there: Unaided | None = None

    def flows(self, read: Callable[[Unaided], Listing | None]) -> Listing:
        """Returns the flows that are not over."""
        found = read(self._opened())
        if found is None:
            raise Undecided("git has to list the flows")
        return found

    def leases(self) -> dict[str, LeaseWords]:
        """Returns the open leases of the repository, by their refs."""
        there = self._opened()
        found = {ref: words_of(there.blob(oid, LEASE)) for ref, oid in sorted(there.refs(LEASES).items())}
        return {ref: lease for ref, lease in found.items() if lease is not None and lease.kind == "open"}

    def lease(self, ref: str) -> LeaseWords | None:
        """Returns one of them."""
        there = self._opened()
        token = there.ref(ref)
        found = None if token is None else words_of(there.blob(token, LEASE))
        return None if found is None or found.kind != "open" else found

    def _opened(self) -> Unaided:
        if self._there is None:
            self._there = unaided(self._checkout, self._checkout.root)
        return self._there
