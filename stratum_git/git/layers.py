"""The upper directory of an overlay: what changed in a slot, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stratum_git.model.ids import Oid


@dataclass(frozen=True, slots=True)
class Layer:
    """Where the changes of a slot lie.

    ``upper`` is the overlay's upper directory. A deleted file is a character device 0/0 there, and a folder
    made anew has ``trusted.overlay.opaque``, or ``user.overlay.opaque``, set to ``y``. ``template`` is the
    index file that the slot's index was made from, ``commit`` what both were at.
    """

    upper: Path
    template: Path
    commit: Oid
