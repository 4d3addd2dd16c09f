"""The only place that starts git.

Every call has the same guards: no pager, no prompt, no hooks, no background maintenance, C locale, none of
the caller's ``GIT_*`` but those listed. Output is bytes; what git prints for people is never parsed.
"""

from __future__ import annotations

import itertools
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from stratum_git.errors import BugError, HostError, UserError
from stratum_git.git.pipes import relieve
from stratum_git.git.programs import Trust
from stratum_git.model.values import dataclass
from stratum_git.spawn.orphans import HELPER, own_mark

MINIMUM = (2, 39, 0)
"""``merge-tree --write-tree`` is of 2.38; 2.39 is the oldest version that everything here was tried with."""

KEPT = frozenset(
    {
        # Which configuration applies is the caller's choice; tests hide the developer's with these.
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
        "GIT_CONFIG_NOSYSTEM",
        # Who commits.
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
        # How an unusual installation finds itself and its certificates.
        "GIT_EXEC_PATH",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_LFS_SKIP_SMUDGE",
    }
)

ALWAYS = {
    b"LC_ALL": b"C",
    b"GIT_TERMINAL_PROMPT": b"0",
    b"GIT_PAGER": b"cat",
    b"GIT_EDITOR": b":",
    b"GIT_MERGE_AUTOEDIT": b"no",
    # Nothing is ever fetched, not even an object that a partial clone lacks, but where programs.py says so:
    # what reaches a remote is a program that the repository names.
    b"GIT_ALLOW_PROTOCOL": b"",
}

GUARDS = (
    "core.fsmonitor=false",  # it would start a program named in the repository's configuration
    "core.hooksPath=/dev/null",
    "gc.auto=0",  # gc prunes worktrees whose directory it cannot see at that moment
    "maintenance.auto=false",
    "submodule.recurse=false",
    "advice.detachedHead=false",
    "core.quotePath=false",
    "color.ui=false",
    "checkout.defaultRemote=",
    "commit.gpgSign=false",
    "core.alternateRefsCommand=true",  # the program of this name, which says nothing
)

PATIENCE = 2.0
"""Seconds after which it is looked whether git waits for something that never comes."""
GENTLE = 10
"""How nice a git is whose work has time."""
DEADLINE = 3600.0
"""Seconds that any one git may take: a checkout of millions of files is done, one that hangs is not."""

HINTS = (
    (r"dubious ownership", "the repository belongs to another user; see `git help config`, safe.directory"),
    (r"Unable to create '.*\.lock'|cannot lock ref", "another git is at work, or left a lock file behind"),
    (
        r"commondir: Success",
        "a `git worktree add` was killed: see `git worktree list`, delete the folder it names",
    ),
    (
        r"index file (smaller|corrupt)|bad signature|index file is",
        "the index is damaged: delete it, then `git reset`, which keeps the files",
    ),
)

MARK = "stratum.conversation=true"
"""In the command line of a git that only reads, or moves refs only while it is said that it does."""

_started = itertools.count()
_trust = Trust()


class GitFailed(HostError):  # noqa: N818 - reads as what happened
    """A git command that was expected to succeed did not."""

    def __init__(self, args: tuple[str, ...], code: int, stderr: bytes) -> None:
        said = stderr.decode("utf-8", "replace").strip()
        ended = f"it was killed by signal {-code}" if code < 0 else "it said nothing"
        last = " ".join(said.splitlines()[-3:]) or ended
        hint = next((text for pattern, text in HINTS if re.search(pattern, said)), "")
        super().__init__(f"git {_verb(args)} failed with {code}: {last}", hint=hint)
        self.code = code
        self.stderr = stderr


class GitHung(HostError):  # noqa: N818
    """A git command did not end."""

    def __init__(self, args: tuple[str, ...], seconds: float) -> None:
        hint = "is there a pipe called .gitignore or .gitattributes in the checkout, or a filter that waits?"
        super().__init__(f"git {_verb(args)} was still at work after {seconds:g} s", hint=hint)


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished git command gave."""

    code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class Conversation:
    """A git at work that is asked again and again. It ends by itself when this process does."""

    process: subprocess.Popen[bytes]

    def send(self, question: bytes) -> bool:
        """Sends *question*; returns whether git took it."""
        asking = self.process.stdin
        if asking is None:
            raise BugError("a conversation without pipes")
        left = memoryview(question)
        try:
            while left:
                # Past the buffer, which would keep what a git that has ended did not take.
                left = left[os.write(asking.fileno(), left) :]
        except BrokenPipeError:
            return False
        return True

    def heard(self, lines: int) -> bool:
        """Reads *lines* of answer; returns whether all of them came."""
        return all(self._answers.readline() for _ in range(lines))

    def line(self) -> bytes:
        """Returns a line of answer; empty when git has ended."""
        return self._answers.readline()

    def ask_line(self, question: bytes) -> bytes:
        """Sends *question* and returns a line of answer; empty when git has ended."""
        return self._answers.readline() if self.send(question) else b""

    def read(self, size: int) -> bytes:
        """Returns *size* bytes more of the answer, fewer when git has ended."""
        return self._answers.read(size)

    @property
    def _answers(self) -> IO[bytes]:
        if self.process.stdout is None:
            raise BugError("a conversation without pipes")
        return self.process.stdout

    def chunk(self, size: int, patience: float) -> bytes | None:
        """Returns what there is of an answer, ``None`` when nothing came for *patience* seconds.

        Not to be mixed with the others, which read ahead. Empty when git has ended.
        """
        handle = self._answers.fileno()
        return os.read(handle, size) if select.select([handle], [], [], patience)[0] else None

    def close(self, timeout: float | None = None) -> Done:
        """Ends it, and returns how it ended; raises GitHung after *timeout* seconds."""
        try:
            rest, said = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            raise GitHung(("conversation",), timeout or 0.0) from error
        return Done(self.process.returncode, rest, said)


@dataclass(frozen=True, slots=True)
class Git:
    """Git in a directory."""

    cwd: Path

    def run(
        self,
        *args: str,
        stdin: bytes = b"",
        ok: tuple[int, ...] = (0,),
        env: Mapping[str, str] | None = None,
        config: tuple[str, ...] = (),
        timeout: float = DEADLINE,
        within: Path | None = None,
        gently: bool = False,
    ) -> Done:
        """Runs git and returns what it gave; raises GitFailed when its exit code is not one of *ok*.

        Raises GitHung after *timeout* seconds, when git and what it started are dead. With *within* it is
        started there, and still only starts what is trusted in ``cwd``. *gently*: others come first.
        """
        guarded = {**_trust.environment(args[0], self.cwd, _asked), **(env or {})}
        with self._starting():
            process = subprocess.Popen(
                _command(args, config),
                cwd=within or self.cwd,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(guarded),
                # A ^C in the terminal is ours to handle; git must finish what it began.
                start_new_session=True,
            )
        with process:
            try:
                if gently:
                    os.setpriority(os.PRIO_PROCESS, process.pid, GENTLE)
                stdout, stderr = _ended(process, stdin, self.cwd, timeout)
            except BaseException as error:
                # The whole session: a filter that git started would hold the pipes open.
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise GitHung(args, timeout) from error
                raise
        if process.returncode not in ok:
            raise GitFailed(args, process.returncode, stderr)
        return Done(process.returncode, stdout, stderr)

    def talk(
        self,
        *args: str,
        config: tuple[str, ...] = (),
        inherit: tuple[int, ...] = (),
        env: Mapping[str, str] | None = None,
        within: Path | None = None,
    ) -> Conversation:
        """Starts a git that answers one line at a time, and with *inherit* open; its starter closes it.

        *env* and *within* are as for :meth:`run`.
        """
        guarded = {**_trust.environment(args[0], self.cwd, _asked), **(env or {})}
        with self._starting():
            process = subprocess.Popen(
                _command(args, (*config, MARK)),
                cwd=within or self.cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Not read before the end, when git says why it ends: a few lines.
                stderr=subprocess.PIPE,
                env=_environment(guarded),
                start_new_session=True,
                pass_fds=inherit,
            )
        return Conversation(process)

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Counts a process, and says why it could not be started."""
        next(_started)
        try:
            yield
        except FileNotFoundError as error:
            if not self.cwd.is_dir():
                raise HostError(f"there is no directory {self.cwd}") from error
            raise HostError("git is not installed", hint="install git 2.39 or newer") from error
        except ValueError as error:
            # No file, ref or revision has such a name, so nothing is lost by refusing it.
            raise UserError("a name with a NUL character cannot be given to git") from error
        except OSError as error:
            raise HostError(f"git could not be started: {error}") from error

    def line(self, *args: str, ok: tuple[int, ...] = (0,)) -> str:
        """Runs git and returns its output as one line of text."""
        return os.fsdecode(self.run(*args, ok=ok).stdout).strip()


def trust(common: Path, root: Path) -> None:
    """Trusts the programs that the settings of a repository name now, and no others from here on."""
    _trust.begin(common, root, _asked)


def merge_settings(cwd: Path) -> dict[str, str]:
    """Returns the settings for a merge in *cwd* that name programs or files."""
    return _trust.merging(cwd, _asked)


def checkout_environment(cwd: Path) -> dict[str, str]:
    """Returns what decides, besides settings, how a checkout at *cwd* comes out."""
    found = _trust.environment("checkout", cwd, _asked)
    found |= {key: value for key, value in os.environ.items() if key.startswith("GIT_LFS")}
    return {key: value for key, value in found.items() if key != "GIT_WORK_TREE"}


def settings_folder() -> Path:
    """Returns where this user's settings are that are no file in the home directory."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(folder) if folder else Path("~/.config").expanduser()


def settings_sign(cwd: Path) -> object:
    """Returns what changes when the settings of the repository around *cwd* do; ``None`` if nobody knows."""
    return _trust.sign(cwd)


def processes_started() -> int:
    """Returns how many git processes this program has started: an exact count, for the benchmarks."""
    # A count object tells its next value only in its representation.
    return int(re.sub(r"\D", "", repr(_started)))


@cache
def git_version() -> tuple[int, int, int]:
    """Returns the version of the git on PATH."""
    said = Git(Path("/")).line("--version")
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    if found is None:
        raise HostError(f"git does not tell its version: {said}")
    return (int(found[1]), int(found[2]), int(found[3] or 0))


def require_git() -> None:
    """Raises HostError when git is older than this program needs."""
    have = git_version()
    if have < MINIMUM:
        words = ".".join(map(str, have))
        raise HostError(f"git {words} is too old", hint=f"install {'.'.join(map(str, MINIMUM))} or newer")


def _ended(process: subprocess.Popen[bytes], stdin: bytes, cwd: Path, timeout: float) -> tuple[bytes, bytes]:
    """Waits for the end of a git. When it takes long, pipes that it may be reading from are ended."""
    end, patience = time.monotonic() + timeout, PATIENCE
    given: bytes | None = stdin or None
    while True:
        left = end - time.monotonic()
        try:
            return process.communicate(given, max(0.0, min(patience, left)))
        except subprocess.TimeoutExpired:
            if left <= patience:
                raise
            relieve(cwd)
            # What it was given once it goes on taking.
            given, patience = None, min(2 * patience, 60.0)


def _command(args: tuple[str, ...], config: tuple[str, ...]) -> list[str]:
    guards = (word for setting in (*GUARDS, *config) for word in ("-c", setting))
    return ["git", "--no-pager", *guards, *args]


def _environment(extra: Mapping[str, str]) -> dict[bytes, bytes]:
    # Bytes, as they are in the environment: a hundred variables are not decoded and encoded for each git.
    mine = {k: v for k, v in os.environb.items() if not k.startswith(b"GIT_") or os.fsdecode(k) in KEPT}
    mine[HELPER.encode()] = own_mark().encode()
    return {**mine, **ALWAYS, **{os.fsencode(key): os.fsencode(value) for key, value in extra.items()}}


def _asked(cwd: Path, *args: str) -> bytes:
    return Git(cwd).run(*args).stdout


def _verb(args: tuple[str, ...]) -> str:
    return " ".join(word for word in args[:2] if len(word) < 40)
