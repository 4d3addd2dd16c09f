"""On what a landing rests: the verdicts of the commits that were tested."""

from __future__ import annotations

from typing import Literal

from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Proof:
    """A commit of a landing, or the target as it was, was tested. ``seconds`` is how long that took.

    ``flaky``: it failed, and passed when it was tested again. ``cached``: it was known from before.
    """

    commit: Oid
    tree: Oid
    verdict: Literal["pass", "fail"]
    cached: bool = False
    flaky: bool = False
    seconds: float = 0.0
