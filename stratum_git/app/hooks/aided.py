"""What hooks look up, by git: where it cannot be seen in files for certain, or more than a look is needed."""

from __future__ import annotations

from collections.abc import Callable

from stratum_git.app.hooks.asked import Ground
from stratum_git.app.hooks.unassisted import LEASES
from stratum_git.git.layout import Layout
from stratum_git.git.objects import read_objects
from stratum_git.git.refs import read_refs
from stratum_git.git.repository import Repository
from stratum_git.git.unaided import Unaided
from stratum_git.slots.lease_words import LeaseWords, words_of
from stratum_git.store.headers import Listing
from stratum_git.store.listing import list_open


class Aided:
    """Looks up what there is; ``Unassisted`` does it without git."""

    def __init__(self, ground: Ground) -> None:
        self._repo = repository_of(ground)

    def flows(self, _: Callable[[Unaided], Listing | None]) -> Listing:
        """Returns the flows that are not over."""
        return list_open(self._repo)

    def leases(self) -> dict[str, LeaseWords]:
        """Returns the open leases of the repository, by their refs."""
        return self._leases(LEASES)

    def lease(self, ref: str) -> LeaseWords | None:
        """Returns one of them."""
        return self._leases(ref).get(ref)

    def _leases(self, prefix: str) -> dict[str, LeaseWords]:
        refs = read_refs(self._repo, prefix)
        found = zip(refs, read_objects(self._repo, [*refs.values()]), strict=True)
        read = {str(ref): words_of(item.data) for ref, item in found if item is not None}
        return {ref: lease for ref, lease in read.items() if lease is not None and lease.kind == "open"}


def repository_of(ground: Ground) -> Repository:
    """Returns the repository, without asking git about it."""
    layout = Layout.of(ground.checkout)
    return Repository(layout.root, layout.git_dir, layout.common_dir, layout.object_format)
