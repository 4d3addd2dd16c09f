"""A user who is not root, with a home and a repository of his own; another one where tests run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.repos import ScratchRepo
from tests.support.shell import Said, Shell

NUMBER = 61234
ROOT = Path(__file__).parents[2]
SETTINGS = "[user]\n\tname = Tess Ter\n\temail = tess@example.invalid\n[init]\n\tdefaultBranch = main\n"
LOOK = (
    "import stratum_git.cli.running, sys; from stratum_git.spawn.namespace import hindrance; "
    "print(sys.version_info[:2], hindrance(str))"
)


@dataclass(frozen=True)
class OwnRepo(ScratchRepo):
    """His repository: his git is at work in it, since git refuses to be in another user's."""

    def git(self, *args: str, check: bool = True) -> str:
        words = [*prefix(), "git", "-C", str(self.path), *args]
        environment = _environment(self.path.parent / "home")
        done = subprocess.run(words, cwd="/", env=environment, capture_output=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"git {' '.join(args)}: {os.fsdecode(done.stderr)}")
        return os.fsdecode(done.stdout).strip()

    def write(self, name: str, content: str | bytes) -> Path:
        path = super().write(name, content)
        give(self.path)
        return path


@dataclass
class Commoner(Shell):
    """A user without any rights, in a scratch repository of his own."""

    @property
    def environment(self) -> dict[str, str]:
        return _environment(self.home)

    def words(self, *words: str) -> list[str]:
        """Returns a command that runs *words* as him."""
        return [*prefix(), *words]

    def do(self, *words: str, timeout: float = 60.0, code: int | None = 0) -> Said:
        """Runs a command of his to its end."""
        done = subprocess.run(
            self.words(*words),
            cwd=self.repo.path,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert code in {None, done.returncode}, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    def run(self, *words: str, cwd: Path | None = None, timeout: float = 60.0) -> Said:
        return self.do(*self.program(*words), timeout=timeout, code=None)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words(*self.program(*words)),
            cwd=self.repo.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def program(self, *words: str) -> list[str]:
        return [interpreter(), "-P", "-m", "stratum_git", *words]

    def script(self, text: str, *words: str, timeout: float = 60.0) -> Said:
        """Runs Python that may import what is tested."""
        return self.do(interpreter(), "-c", text, *words, timeout=timeout)

    def file(self, name: str, text: str) -> Path:
        path = super().file(name, text)
        give(path)
        return path

    def processes(self) -> list[int]:
        """Returns the processes that stand, or were told to work, somewhere of his; none that has ended."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if os.fsencode(self.home.parent) in words:
                found.append(int(entry.name))
        return found


@contextmanager
def commoner() -> Iterator[Commoner]:
    """Makes a user; skips the test where there can be none, or namespaces are forbidden."""
    reason = hindrance()
    if reason:
        pytest.skip(reason)
    # Not in pytest's own folder: nobody else may look into that.
    place = Path(tempfile.mkdtemp(prefix="commoner-"))
    try:
        place.chmod(0o755)
        home = place / "home"
        home.mkdir()
        (home / ".gitconfig").write_text(SETTINGS)
        ScratchRepo.make(place / "repo")
        for top in (home, place / "repo"):
            give(top)
        made = OwnRepo(place / "repo")
        made.commit("first", {"a.txt": "a\n", "b.txt": "b\n", "dir/c.txt": "c\n"})
        yield Commoner(home, made)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@cache
def hindrance() -> str:
    """Returns why there can be no such user; empty when there can be one."""
    if sys.platform != "linux":
        return "only Linux has user namespaces"
    if prefix() and shutil.which("setpriv") is None:
        return "root cannot be anybody else here: there is no setpriv"
    done = subprocess.run(
        [*prefix(), interpreter(), "-c", LOOK],
        cwd="/",
        env=_environment(Path("/nonexistent")),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return f"no other user can run Python with what is installed here: {done.stderr.strip()[-300:]}"
    reason = done.stdout.partition(") ")[2].strip()
    return f"namespaces are forbidden here: {reason}" if reason else ""


@cache
def interpreter() -> str:
    """Returns a Python that everybody may run: root's own may lie where nobody else can look."""
    if not prefix():
        return sys.executable
    # By himself: whoever becomes another user may still go where only the first one may.
    again = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', '']).returncode)"
    done = subprocess.run([*prefix(), sys.executable, "-c", again], capture_output=True, check=False)
    return sys.executable if done.returncode == 0 else "/usr/bin/python3"


def prefix() -> tuple[str, ...]:
    """Returns the words before a command that make it an ordinary user's."""
    if os.getuid() != 0:
        return ()
    return ("setpriv", f"--reuid={NUMBER}", f"--regid={NUMBER}", "--clear-groups")


def _environment(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{ROOT}:{sysconfig.get_paths()['purelib']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def give(top: Path) -> None:
    """Makes a file, or all that is in a folder, his."""
    if os.getuid() != 0:
        return
    os.lchown(top, NUMBER, NUMBER)
    for root, folders, names in os.walk(top):
        for name in (*folders, *names):
            os.lchown(Path(root, name), NUMBER, NUMBER)
