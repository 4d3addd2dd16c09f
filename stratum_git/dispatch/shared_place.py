"""The user's checkout as the place of an attempt that changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git.dispatch.context import Context
from stratum_git.dispatch.judge import Finding
from stratum_git.dispatch.shared import Fingerprint, fingerprint
from stratum_git.git.fence import Post
from stratum_git.git.objects import Signature
from stratum_git.git.snapshot import Captured
from stratum_git.model.ids import Hooks, Oid


@dataclass(frozen=True, slots=True)
class SharedPlace:
    """The user's checkout, read-only: it is compared with how it was before."""

    context: Context
    folder: Path
    base: Oid
    before: Fingerprint

    @property
    def path(self) -> Path:
        """Returns the root of the checkout."""
        return self.context.repo.root

    def capture(self, base: Oid, message: str, author: Signature, *, held: bool = False) -> Captured:
        """Returns the base: nothing was to be changed."""
        del message, author, held
        return Captured(head=base, result=base, dirty=False)

    def guard(self, environment: Mapping[str, str], hooks: Hooks = "inherit") -> Mapping[str, str]:
        """Returns *environment* with the fence: nothing here is to be changed."""
        return self.context.fence.around(environment, Post(self.path), hooks)

    def violation(self) -> Finding | None:
        """Returns the files of the shared checkout that changed meanwhile."""
        changed = self.before.differences(fingerprint(self.context.repo))
        if not changed:
            return None
        what = ", ".join(changed[:10])
        return Finding("shared", (f"isolation: none is read-only, but the checkout changed: {what}",))

    def is_parting(self) -> bool:
        """Returns ``False``: the checkout is the user's."""
        return False

    def close(self) -> None:
        """Does nothing: the checkout is the user's."""

    def retire(self) -> None:
        """Does nothing: the checkout is the user's."""

    def abandon(self) -> None:
        """Does nothing: the checkout is the user's."""
