"""The three kinds of failure, by whose fault it is.

What can be expected is returned as a value; only the rest is raised. Subclasses live beside the code that
raises them. The message says what happened and to what; ``hint`` says what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class StratumError(Exception):
    """A failure that a person reads: one sentence, and a hint when there is something to do."""

    word: ClassVar[str] = ""
    """What programs know it by, where that is not the name of the class."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(StratumError):
    """The caller asked wrongly: a bad spec, an unknown flow, a missing agent. Exit code 2."""


class HostError(StratumError):
    """The world failed: git, the disk, the network, a program that cannot start. Exit code 3."""


class BugError(StratumError):
    """This program broke its own rule. Exit code 70."""
