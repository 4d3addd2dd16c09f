"""A user's repository with everything in it that an agent must not move, and a slot in it with the fence."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git.git.fence import Fence, Post
from stratum_git.git.repository import open_repository
from stratum_git.git.worktree import clone_private, git_dir_of
from stratum_git.model.ids import Hooks, Oid, RefName
from tests.support.fence_table import Case

BRANCH = RefName("refs/heads/stratum/f/t")
SAYS = "stratum-git: refused "

SETUP = """
set -e
git init -q -b main --template= main
git init -q --bare --template= remote.git
cd main
for name in a b dir/c; do mkdir -p $(dirname $name); echo $name >$name.txt; done
git config user.name 'The User'
git config user.email user@example.invalid
git add -A
git commit -q -m first
git branch far
git checkout -q -b other
echo other >other.txt
git add -A
git commit -q -m other
git checkout -q main
echo second >second.txt
git add -A
git commit -q -m second
git tag v1
git remote add origin ../remote.git
git push -q origin main other far 2>/dev/null
git branch -q -D far
git -C ../remote.git update-ref refs/heads/main other
git -C ../remote.git tag v0 main
for text in one two; do echo $text >>b.txt; git stash push -q -m $text; done
git worktree add -q --detach ../other HEAD
git worktree add -q --detach ../slot HEAD
git -C ../slot checkout -q -B stratum/f/t
echo mine >>dir/c.txt
echo staged >staged.txt
git add staged.txt
"""


@dataclass(frozen=True)
class Tried:
    """What came of a case: how the shell ended, what it said, and what of the user's is not as it was."""

    code: int
    err: str
    changed: tuple[str, ...]

    def verdict(self, case: Case) -> str | None:
        """What is wrong with it, if anything."""
        said, fine = self.err.count(SAYS), False
        what = f"{case.shown}: exit code {self.code}, {self.changed or 'nothing'} changed, said {self.err!r}"
        match case.expected:
            case "works":
                fine = self.code == 0 and not self.changed and not said
            case "refused":
                fine = self.code != 0 and not self.changed and said == 1
            case "gap":
                fine = bool(self.changed)
        return None if fine else what


@dataclass(frozen=True)
class World:
    """A folder that is made anew for each case; ``private`` gives the agent a clone instead of a worktree."""

    root: Path
    private: bool = False

    @property
    def main(self) -> Path:
        return self.root / "now" / "main"

    @property
    def slot(self) -> Path:
        return self.root / "now" / ("clone" if self.private else "slot")

    def build(self) -> dict[str, str]:
        """Makes the world once, where each case will find it; returns the agent's environment."""
        now = self.root / "now"
        (now / "home").mkdir(parents=True)
        (now / "home" / ".gitconfig").write_text("[user]\n\tname = Some One\n\temail = one@example.invalid\n")
        (now / "tmp").mkdir()
        subprocess.run(["sh", "-c", SETUP], cwd=now, check=True, env=self._user())
        if self.private:
            repo = open_repository(self.main)
            at = Oid(self._git("rev-parse", "main"))
            clone_private(repo, self.slot, base=at, branch=BRANCH, name="A", email="a@example.invalid")
        now.rename(self.root / "kept")
        self.renew()
        return self.environment()

    def renew(self) -> None:
        """Puts everything back as it was."""
        restore(self.root / "kept", self.root / "now")

    def environment(self, hooks: Hooks = "inherit") -> dict[str, str]:
        """What the agent gets."""
        repo = open_repository(self.main)
        post = Post(self.slot) if self.private else Post(self.slot, git_dir_of(self.slot), BRANCH)
        return Fence(repo, self.root / "fence").around(self._user(), post, hooks)

    def run(self, script: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Runs a shell as the agent."""
        now = self.root / "now"
        real = shutil.which("git")
        names = {"MAIN": self.main, "OTHER": now / "other", "REMOTE": now / "remote.git", "TMP": now / "tmp"}
        return subprocess.run(
            ["sh", "-c", script],
            cwd=self.slot,
            env={**environment, **{name: str(path) for name, path in names.items()}, "REAL": str(real)},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )

    def attempt(self, case: Case, environment: Mapping[str, str]) -> Tried:
        """Runs a case in a fresh world."""
        self.renew()
        before = self.state()
        done = self.run(case.script, environment)
        after = self.state()
        names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        return Tried(done.returncode, done.stderr, tuple(names))

    def state(self) -> dict[str, bytes]:
        """Everything that is the user's, byte for byte. Objects may be added: nothing points at them."""
        now = self.root / "now"
        places = (self.main, now / "other", now / "remote.git", now / "home")
        return {
            str(path.relative_to(now)): path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            for place in places
            for path in _files(place)
            if not self._is_the_agents(path)
        }

    def _is_the_agents(self, path: Path) -> bool:
        inside = path.relative_to(self.root / "now").as_posix()
        own = (
            "main/.git/worktrees/slot/",
            "main/.git/refs/heads/stratum/f/",
            "main/.git/logs/refs/heads/stratum/f/",
        )
        return not self.private and inside.startswith(own)

    def _user(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "now" / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_EDITOR": ":",
        }

    def _git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.main, check=True, capture_output=True, text=True, env=self._user()
        )
        return done.stdout.strip()


def _files(place: Path) -> Iterator[Path]:
    """Gives what lies below a place, but for the objects of repositories: they may be added to."""
    if not place.exists():
        return
    for path in sorted(place.rglob("*")):
        if "objects" not in path.relative_to(place).parts and not path.is_dir():
            yield path


def restore(kept: Path, now: Path) -> None:
    """Makes *now* what *kept* is. Only what differs is touched: a world has a few hundred files."""
    wanted, there = _listing(kept), _listing(now)
    for name in sorted(there.keys() - wanted.keys(), reverse=True):
        if (now / name).is_dir() and not (now / name).is_symlink():
            (now / name).rmdir()
        else:
            (now / name).unlink()
    for name in sorted(wanted):
        if wanted[name] is None:
            (now / name).mkdir(exist_ok=True, parents=True)
        elif wanted[name] != there.get(name):
            shutil.copy2(kept / name, now / name)


def _listing(place: Path) -> dict[str, tuple[int, int] | None]:
    """Returns what lies below a place: ``None`` for a folder, size and time of change for a file."""
    found: dict[str, tuple[int, int] | None] = {}
    for folder, folders, files in os.walk(place):
        inside = Path(folder).relative_to(place)
        found |= {str(inside / name): None for name in folders if not Path(folder, name).is_symlink()}
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*files, *linked):
            facts = Path(folder, name).lstat()
            found[str(inside / name)] = (facts.st_size, facts.st_mtime_ns)
    return found
