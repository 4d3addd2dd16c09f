"""What a client asks with a hook, where it asks that, and what it is answered.

Whoever imports this loads nothing that takes time: some hooks run before each command of a client's. Paths
are texts, and classes are plain.
"""

from __future__ import annotations

import json
import os

from stratum_git.app.hooks.glances import CONFIG, Glance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from stratum_git.git.unaided import Unaided
    from stratum_git.git.whereabouts import Checkout
    from stratum_git.slots.lease_words import LeaseWords
    from stratum_git.store.headers import Listing

    class Looks(Protocol):
        """What is looked up in a repository: without git (``unassisted.py``), or by it (``aided.py``)."""

        def flows(self, read: Callable[[Unaided], Listing | None]) -> Listing:
            """Returns the flows that are not over; *read* knows them where git is not needed."""

        def leases(self) -> dict[str, LeaseWords]:
            """Returns the open leases of the repository, by their refs."""

        def lease(self, ref: str) -> LeaseWords | None:
            """Returns one of them."""


BLOCKING = 2
"""The exit code by which a hook refuses; its words are on standard error, for the model."""


LOOKING = frozenset({"beginning", "stopping", "subagents", "departures"})
"""Parts that look something up in the repository."""


class Heavier(Exception):  # noqa: N818 - nothing is wrong
    """There is something to do that takes more than a look; ``part`` does it, and answers."""

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.part = part


class Ground:
    """The repository that a hook is about, and the folder of its slots, logs and locks.

    ``looks`` is there for whoever is LOOKING.
    """

    __slots__ = ("checkout", "looks", "slots", "state")
    looks: Looks

    def __init__(self, checkout: Checkout, state: str) -> None:
        self.checkout = checkout
        self.state = state
        self.slots = os.path.join(state, "slots")


class Asked:
    """A call of a hook: what the client said, and from where; ``ground`` is ``None`` outside repositories."""

    __slots__ = ("cwd", "environment", "ground", "row", "seen")

    def __init__(
        self,
        row: Mapping[str, object],
        cwd: str,
        environment: Mapping[str, str],
        ground: Ground | None,
        seen: Glance,
    ) -> None:
        self.row = row
        self.cwd = cwd
        self.environment = environment
        self.ground = ground
        self.seen = seen

    def text(self, key: str) -> str:
        """Returns a field that is a text; empty when it is none."""
        value = self.row.get(key)
        return value if isinstance(value, str) else ""

    def tool(self, key: str) -> str:
        """Returns a text out of what the tool was given."""
        given = self.row.get("tool_input")
        value = given.get(key) if isinstance(given, dict) else None
        return value if isinstance(value, str) else ""

    @property
    def session(self) -> str:
        """Returns the client's name for its session."""
        return self.text("session_id")


class Answer:
    """What a hook prints, and how it ends."""

    __slots__ = ("code", "err", "out")

    def __init__(self, out: str = "", err: str = "", code: int = 0) -> None:
        self.out = out
        self.err = err
        self.code = code


NOTHING = Answer()


def advice(event: str, words: str) -> Answer:
    """Returns the answer by which the model is told something, and nothing is decided."""
    said = {"hookSpecificOutput": {"hookEventName": event, "additionalContext": words}}
    return Answer(out=json.dumps(said, ensure_ascii=False))


def names_secrets(ground: Ground) -> bool:
    """Returns whether settings name secrets, of which nothing may be written down."""
    try:
        with open(os.path.join(ground.checkout.root, CONFIG), "rb") as file:
            return b"secrets" in file.read()
    except OSError:
        return False
