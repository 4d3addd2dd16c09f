"""A user with git alone, in the repository in which all the others are at work."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tests.support.world import Act, Actor

BUSY = (
    "index.lock",
    "cannot lock ref",
    "but expected",
    "commondir",
    "Another git process",
    "unable to write new index",
)
"""Words of a git that another one was in the way of, which the user does not take amiss."""


@dataclass
class User(Actor):
    """Commits, switches, stashes, packs, tags, and keeps a file with uncommitted changes."""

    number: int = 0
    dirt: str = "a\n"
    tags: dict[str, str] = field(default_factory=dict)
    is_restless: bool = False
    """He switches branches and stashes in his main checkout too: in the moment of a landing, a known gap."""

    def acts(self) -> list[Act]:
        restless = [self.away, self.stash] if self.is_restless else []
        return [
            *restless, self.commit, self.commit, self.side, self.switch, self.gc, self.pack,
            self.worktree, self.prune, self.rebase, self.tag, self.dirty, self.status, self.status,
        ]  # fmt: skip

    def git(self, *words: str) -> bool:
        done = self.world.git(*words)
        if done.returncode and not any(word in done.stderr for word in BUSY):
            self.world.blame(f"git {' '.join(words)}: {done.stderr.strip()[:600]}")
        elif done.returncode:
            self.world.count("git was busy")
        return done.returncode == 0

    def until(self, *words: str) -> bool:
        """Tries again while another git is in the way; returns whether it was done at last."""
        pause = threading.Event()
        for _ in range(100):
            if self.git(*words):
                return True
            pause.wait(0.05)
        self.world.blame(f"git {' '.join(words)} never came to an end")
        return False

    def commit(self) -> None:
        self.number += 1
        name = f"user-{self.number}.txt"
        (self.world.shell.repo.path / name).write_text("by the user\n")
        # What another git was in the way of he does again, as anybody would.
        if self.until("add", name) and self.until("commit", "-qm", f"user {self.number}", "--", name):
            oid = self.world.lines("log", "-1", "--format=%H", "--", name)[0]
            self.world.commits.append(oid)
            changed = self.world.lines("diff-tree", "-r", "--name-only", "--no-commit-id", oid)
            if changed != [name]:
                self.world.count("user commits with more in them")
                self.world.blame(f"the user's commit of {name} changed {changed}")

    def side(self) -> None:
        """Commits on another branch, in a worktree of his own."""
        self.number += 1
        path = self.world.shell.home / "side"
        if not path.exists():
            self.git("worktree", "add", "-q", "-B", "side", str(path), "main")
        (path / f"side-{self.number}.txt").write_text("side\n")
        self.git("-C", str(path), "add", "-A")
        self.git("-C", str(path), "commit", "-qm", f"side {self.number}")

    def switch(self) -> None:
        """Switches to another branch and back, in a worktree of his own."""
        path = self.world.shell.home / "side"
        if path.exists():
            self.git("-C", str(path), "checkout", "-q", "-B", "elsewhere")
            self.git("-C", str(path), "checkout", "-q", "side")

    def away(self) -> None:
        """Switches to another branch for a moment."""
        if self.git("checkout", "-q", "-B", "elsewhere"):
            self.until("checkout", "-q", "main")

    def stash(self) -> None:
        """Puts his change away and takes it back."""
        if self.git("stash", "push", "-q", "--", "a.txt") and self.world.lines("stash", "list"):
            self.until("stash", "pop", "-q", "--index")

    def gc(self) -> None:
        self.git("-c", "gc.auto=1", "gc", "-q", "--auto")

    def pack(self) -> None:
        self.git("pack-refs", "--all")

    def worktree(self) -> None:
        self.number += 1
        path = str(self.world.shell.home / f"own-{self.number}")
        if self.git("worktree", "add", "-q", "--detach", path):
            self.git("worktree", "remove", "--force", path)

    def prune(self) -> None:
        self.git("worktree", "prune", "--expire=now")

    def rebase(self) -> None:
        path = self.world.shell.home / "side"
        if path.exists():
            self.git("-C", str(path), "rebase", "-q", "main")

    def tag(self) -> None:
        self.number += 1
        if self.git("tag", f"v{self.number}", "main~0"):
            self.tags[f"v{self.number}"] = self.world.lines("rev-parse", f"v{self.number}")[0]

    def dirty(self) -> None:
        self.number += 1
        self.dirt = f"dirty {self.number}\n"
        (self.world.shell.repo.path / "a.txt").write_text(self.dirt)

    def status(self) -> None:
        self.git("status", "--porcelain")
        self.same()

    def same(self) -> None:
        """Looks whether his change is as he left it."""
        found = (self.world.shell.repo.path / "a.txt").read_text()
        if found != self.dirt:
            self.world.blame(f"the user's a.txt is {found!r}, and he left {self.dirt!r}")
