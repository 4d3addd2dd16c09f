"""The verb that the client's hooks call: hook.

Whatever goes wrong here is no reason to hold a client up: it is said in one line, and noted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from stratum_git.app.hooks.asked import Answer, Asked, Ground, home_of, settled_in, standing
from stratum_git.app.hooks.glances import may_matter
from stratum_git.errors import StratumError

HOOKS: dict[str, tuple[float, tuple[str, ...]]] = {
    # hook: (seconds that it may take, modules that answer it, one after the other)
    "session-start": (5.0, ("beginning", "sweeping")),
    "session-end": (25.0, ("sweeping",)),
    "stop": (2.0, ("stopping",)),
    "pre-tool-use": (2.0, ("commands",)),
    "post-tool-use": (5.0, ("specs",)),
    "post-tool-use-failure": (2.0, ("failures",)),
    "subagent-start": (2.0, ("subagents",)),
    "subagent-stop": (20.0, ("captures", "sweeping")),
    "worktree-create": (280.0, ("worktrees",)),
    "worktree-remove": (110.0, ("worktrees",)),
}
NEEDED = ("worktree-create",)
"""Hooks that the client cannot go on without: an answer, or why there is none."""
LOG = "hooks.log"
LONGEST = 128 * 1024
GRACE = 1.0
"""Seconds for what has to be put in order when the time of a hook is over."""


class TooSlow(BaseException):
    """The time of a hook is over."""


def hook_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``hook``."""
    parser.add_argument("name", metavar="NAME", help=", ".join(HOOKS))


def hook(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Answers the event on standard input; the exit code is the one that the client is to see."""
    name = str(options.name)
    ground: Ground | None = None
    code = 0
    seconds = HOOKS.get(name, (2.0, ()))[0]
    slow = f"it took more than {seconds:g} s"
    try:
        with deadline(seconds, lambda: os._exit(_failed(name, ground, slow))):
            asked = asked_of(name, sys.stdin.buffer.read(), cwd, environment)
            ground = asked.ground
            for answer in answers(name, asked):
                _say(answer)
                code = max(code, answer.code)
    except TooSlow:
        return _failed(name, ground, slow)
    except StratumError as error:
        return _failed(name, ground, f"{error.message}{f' ({error.hint})' if error.hint else ''}")
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not hold the client up
        return _failed(name, ground, f"{type(error).__name__}: {error}")
    return code


def asked_of(name: str, said: bytes, cwd: Path, environment: Mapping[str, str]) -> Asked:
    """Returns what a client asks, by the JSON that it says; raises StratumError or ValueError."""
    if name not in HOOKS:
        raise StratumError(f"there is no hook called {name!r}", hint=f"there are {', '.join(HOOKS)}")
    row = json.loads(said or b"{}")
    if not isinstance(row, dict):
        raise StratumError("what the client says is no object")
    place = row.get("cwd")
    at = Path(place) if isinstance(place, str) and place.startswith("/") else cwd
    return Asked(row, at, environment, _ground(at, environment))


def answers(name: str, asked: Asked) -> Iterator[Answer]:
    """Yields what is answered: nothing is loaded for a hook that can have nothing to say."""
    for part in HOOKS[name][1]:
        if may_matter(part, asked):
            module = import_module(f"stratum_git.app.hooks.{part}")
            yield getattr(module, name.replace("-", "_"))(asked)


@contextmanager
def deadline(seconds: float, give_up: Callable[[], object], grace: float = GRACE) -> Iterator[None]:
    """Raises TooSlow after *seconds*, and calls *give_up* where that has not ended it *grace* seconds later.

    Who cleans up may wait as long as who worked: for a lock, say. What he leaves is what a kill would.
    """

    def late(*_: object) -> None:
        signal.signal(signal.SIGALRM, lambda *_: give_up())
        raise TooSlow

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, grace)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _say(answer: Answer) -> None:
    # At once: what comes after it may take too long.
    if answer.err:
        print(answer.err, file=sys.stderr, flush=True)
    if answer.out:
        print(answer.out, flush=True)


def _ground(cwd: Path, environment: Mapping[str, str]) -> Ground | None:
    layout = standing(cwd, environment)
    if layout is None:
        return None
    if settled_in(layout):
        places = import_module("stratum_git.app.places")
        around = import_module("stratum_git.app.surroundings").Surroundings(layout.root, environment)
        config = import_module("stratum_git.app.config").read_config(layout.root)
        return Ground(layout, places.folders_of(around, around.repository(), config).root)
    return Ground(layout, home_of(layout, environment).resolve())


def _failed(name: str, ground: Ground | None, why: str) -> int:
    line = f"stratum-git hook {name}: {' '.join(why.split())}"
    print(line, file=sys.stderr)
    if ground is not None and ground.state.is_dir():
        with suppress(OSError):
            _note(ground.state / LOG, f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}\n")
    return 1 if name in NEEDED else 0


def _note(log: Path, line: str) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > LONGEST:
            log.replace(log.with_suffix(".old"))
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
        file.write(line)
