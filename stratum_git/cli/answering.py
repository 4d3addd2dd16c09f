"""Answers a hook of the client's, on standard input, output and error: first by a glance, at hardly any cost.

A client waits for this before each command of its own, and mostly there is nothing to say. Whatever goes
wrong here is no reason to hold a client up: it is said in one line, and noted.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from stratum_git.app.hooks.calls import HOOKS, place_of, row_of
from stratum_git.app.hooks.glances import Glance, glance_of, may_matter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from stratum_git.app.hooks.asked import Answer

NEEDED = ("worktree-create",)
"""Hooks that the client cannot go on without: an answer, or why there is none."""
LOG = "hooks.log"
LONGEST = 128 * 1024
GRACE = 1.0
"""Seconds for what has to be put in order when the time of a hook is over."""


class TooSlow(BaseException):
    """The time of a hook is over."""


class deadline:  # noqa: N801 - a function that contextlib would have to be loaded for
    """Raises TooSlow after *seconds*, and calls *give_up* where that has not ended it *grace* seconds later.

    Who cleans up may wait as long as who worked: for a lock, say. What he leaves is what a kill would.
    """

    def __init__(self, seconds: float, give_up: Callable[[], object], grace: float = GRACE) -> None:
        self.seconds, self.give_up, self.grace = seconds, give_up, grace

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._late)
        signal.setitimer(signal.ITIMER_REAL, self.seconds, self.grace)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _late(self, *_: object) -> None:
        signal.signal(signal.SIGALRM, lambda *_: self.give_up())
        raise TooSlow


class Call:
    """A call of a hook. ``state`` is the folder of slots and logs, as soon as it is known."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: str | None = None

    def answer(self, environment: Mapping[str, str]) -> int:
        """Says what there is to say about the event on standard input, and returns the exit code."""
        row = row_of(sys.stdin.buffer.read())
        cwd = place_of(row) or os.getcwd()
        seen = glance_of(row, cwd, environment)
        self.state = None if seen is None else seen.state
        if self.name in HOOKS and seen is not None and not matters(self.name, seen):
            return 0
        from stratum_git.cli import hooking

        asked = hooking.asked_at(self.name, row, cwd, environment)
        self.state = None if asked.ground is None else str(asked.ground.state)
        code = 0
        for one in hooking.answers(self.name, asked):
            _say(one)
            code = max(code, one.code)
        return code

    def failed(self, why: str) -> int:
        """Says why there is no answer, notes it, and returns the exit code."""
        line = f"stratum-git hook {self.name}: {' '.join(why.split())}"
        print(line, file=sys.stderr)
        if self.state is not None and os.path.isdir(self.state):
            try:
                _note(os.path.join(self.state, LOG), f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}\n")
            except OSError:
                pass
        return 1 if self.name in NEEDED else 0


def hook_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``hook``."""
    parser.add_argument("name", metavar="NAME", help=", ".join(HOOKS))


def hook(options: argparse.Namespace, _: Path, environment: Mapping[str, str]) -> int:
    """Answers as ``answer_hook``, where the command line had more in it than a name."""
    return answer_hook(str(options.name), environment)


def answer_hook(name: str, environment: Mapping[str, str]) -> int:
    """Answers the event on standard input; the exit code is the one that the client is to see."""
    seconds = HOOKS.get(name, (2.0, ()))[0]
    slow = f"it took more than {seconds:g} s"
    call = Call(name)
    try:
        with deadline(seconds, lambda: os._exit(call.failed(slow))):
            return call.answer(environment)
    except TooSlow:
        return call.failed(slow)
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not hold the client up
        hint = getattr(error, "hint", "")
        # What is meant for people has a message of its own; of the rest, what it is says more.
        told = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        return call.failed(f"{told} ({hint})" if hint else told)


def matters(name: str, seen: Glance) -> bool:
    """Returns whether anything that answers a hook may have something to say."""
    return any(may_matter(part, seen) for part in HOOKS[name][1])


def _say(answer: Answer) -> None:
    # At once: what comes after it may take too long.
    if answer.err:
        print(answer.err, file=sys.stderr, flush=True)
    if answer.out:
        print(answer.out, flush=True)


def _note(log: str, line: str) -> None:
    try:
        if os.stat(log).st_size > LONGEST:
            os.replace(log, f"{log.removesuffix('.log')}.old")
    except FileNotFoundError:
        pass
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
        file.write(line)
