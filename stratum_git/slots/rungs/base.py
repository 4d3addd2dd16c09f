"""What the pool asks of a way to come to the files of a slot."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from stratum_git.errors import HostError
from stratum_git.git.layers import Layer
from stratum_git.model.ids import Oid
from stratum_git.slots.occupancy import Occupied
from stratum_git.slots.slot import Slot


class Declined(HostError):  # noqa: N818 - reads as what happened
    """This rung cannot do it here or now: the next one is asked. Nothing half-made is left behind."""


class Rung(Protocol):
    """A way to come to the files of a slot.

    The pool has the slot's lock whenever it calls, and does everything else: locks, records, branches. The
    record says which rung a slot is of (its ``name``) before anything of it is made, so whoever comes after a
    crash asks the same rung to wake it or to discard it.
    """

    @property
    def name(self) -> str:
        """Returns the word for it in records, settings and the log; never changed, since records stay."""

    @property
    def is_mount(self) -> bool:
        """Returns whether a slot's place is where something is mounted: it is not renamed, nor unmounted."""

    def keeps(self, slot: Slot) -> bool:
        """Returns whether a slot is worth cleaning for the next tenant, or thrown away."""

    @property
    def is_private(self) -> bool:
        """Returns whether only this process and its children see the files: no place for a client."""

    def make(self, place: Path, base: Oid) -> None:
        """Makes a worktree at *place*, where nothing is: registered, detached at *base*, clean.

        Raises:
            Declined: Another rung has to do it.
        """

    def layer(self, place: Path) -> Layer | None:
        """Returns where the changes of a slot lie by themselves; ``None`` where they do not."""

    def wake(self, place: Path, record: Occupied) -> None:
        """Makes the files of a slot visible at *place* again, after a crash, a restart, or an unmount.

        Raises HostError when they cannot be. Asking again where they are visible does nothing.
        """

    def is_gone(self, place: Path) -> bool:
        """Returns whether nobody sees the files of a slot before it is woken, as after a restart."""

    def clear(self, slot: Slot, folders: Collection[str]) -> None:
        """Makes a slot clean at its base, for the next tenant; ignored files stay that it keeps."""

    def discard(self, place: Path) -> None:
        """Moves all of a slot's files to the trash, in a time that does not depend on how many there are.

        Asking again, or for a slot that was only half made, does what is left to do.
        """

    def prepare(self) -> None:
        """Makes something ready for the next slot; called when nobody waits. Raises OSError."""

    def close(self) -> None:
        """Deletes what was made ready; the rung can be used again."""

    def sweep(self, known: Collection[str]) -> None:
        """Throws away what slots have left that are gone; *known* are the names of those that are there."""
