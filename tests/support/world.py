"""One repository, and everybody who is at work in it: what they did, and what went wrong."""

from __future__ import annotations

import random
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.portal import SettledShell

Act = Callable[[], None]


@dataclass
class World:
    """The repository, whether it is time to stop, and what everybody saw. Safe for several threads."""

    shell: SettledShell
    stop: threading.Event = field(default_factory=threading.Event)
    figures: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)
    claims: set[tuple[str, str, int]] = field(default_factory=set)
    inside: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self.lock:
            self.figures[what] += 1

    def blame(self, what: str) -> None:
        with self.lock:
            self.wrong.append(what)

    def git(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs git as the user does."""
        return subprocess.run(
            ["git", *words],
            cwd=self.shell.repo.path,
            env=self.shell.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def lines(self, *words: str) -> list[str]:
        return self.git(*words).stdout.splitlines()

    def flows(self) -> dict[str, str]:
        """Returns where each flow stands."""
        rows = self.lines("for-each-ref", "--format=%(refname:lstrip=3) %(objectname)", "refs/stratum/flows")
        return dict(row.split(" ") for row in rows)


@dataclass
class Actor:
    """Somebody who does one thing after another, at random, until it is time to stop."""

    world: World
    dice: random.Random
    name: str

    def acts(self) -> list[Act]:
        """Returns what he may do next."""
        raise NotImplementedError

    def live(self) -> None:
        while not self.world.stop.is_set():
            act = self.dice.choice(self.acts())
            self.world.count(f"{type(self).__name__.lower()} {act.__name__}")
            try:
                act()
            except Exception as error:  # noqa: BLE001 - the others go on, and it is told at the end
                self.world.blame(f"{self.name} {act.__name__}: {type(error).__name__}: {error}"[:3000])
