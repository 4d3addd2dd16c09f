"""The three kinds of failure, by whose fault it is.

What can be expected is returned as a value; only the rest is raised. Subclasses live beside the code that
raises them. The message says what happened and to what; ``hint`` says what to do next.
"""

from __future__ import annotations

import errno
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

DISK = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EFBIG,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
    }
)
"""Failures of the world that may come from any call that touches a file."""

HINTS = (
    (
        r"No space left|Out of diskspace|quota exceeded",
        "free some space, then `stratum-git resume FLOW` goes on",
    ),
    (r"Read-only file system", "make the disk writable, then `stratum-git resume FLOW` goes on"),
    (r"File too large|file size limit", "a limit on the size of files is in force, see `ulimit -f`"),
    (r"Input/output error", "the disk may be failing: see `dmesg`, and copy the repository elsewhere"),
    (r"Too many open files", "raise the limit, see `ulimit -n`"),
    (r"Cannot allocate memory|killed by signal", "was it for memory? `stratum-git resume FLOW` goes on"),
)
"""What to do about failures that many places may meet, by the words of the system."""


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

    def __init__(self, message: str, *, hint: str = "") -> None:
        known = (text for pattern, text in HINTS if re.search(pattern, message))
        super().__init__(message, hint=hint or next(known, ""))


class BugError(StratumError):
    """This program broke its own rule. Exit code 70."""


def as_host_error(error: OSError) -> HostError | None:
    """Returns a failure of the disk as one that a person reads; ``None`` for what nobody had to expect."""
    if error.errno not in DISK:
        return None
    where = "" if error.filename is None else f": {error.filename}"
    return HostError(f"{error.strerror}{where}")
