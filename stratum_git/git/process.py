"""The only place that starts git.

Every call has the same guards: no pager, no prompt, no hooks, no background maintenance, C locale, none of
the caller's ``GIT_*`` but those listed. Output is bytes; what git prints for people is never parsed.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stratum_git.errors import HostError, UserError

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
)

HINTS = (
    (r"dubious ownership", "the repository belongs to another user; see `git help config`, safe.directory"),
    (r"No space left on device|Disk quota exceeded", "free some space, then `stratum-git resume`"),
    (r"Unable to create '.*\.lock'|cannot lock ref", "another git is at work, or left a lock file behind"),
    (r"Read-only file system", "the repository's disk is mounted read-only"),
)

_started = itertools.count()


class GitFailed(HostError):  # noqa: N818 - reads as what happened
    """A git command that was expected to succeed did not."""

    def __init__(self, args: tuple[str, ...], code: int, stderr: bytes) -> None:
        said = stderr.decode("utf-8", "replace").strip()
        last = " ".join(said.splitlines()[-3:]) or "it said nothing"
        hint = next((text for pattern, text in HINTS if re.search(pattern, said)), "")
        super().__init__(f"git {_verb(args)} failed with {code}: {last}", hint=hint)
        self.code = code
        self.stderr = stderr


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished git command gave."""

    code: int
    stdout: bytes
    stderr: bytes


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
    ) -> Done:
        """Runs git and returns what it gave; raises GitFailed when its exit code is not one of *ok*."""
        guards = [word for setting in (*GUARDS, *config) for word in ("-c", setting)]
        command = ["git", "--no-pager", *guards, *args]
        next(_started)
        try:
            done = subprocess.run(
                command,
                cwd=self.cwd,
                input=stdin,
                capture_output=True,
                env=_environment(env or {}),
                check=False,
                # A ^C in the terminal is ours to handle; git must finish what it began.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            if not self.cwd.is_dir():
                raise HostError(f"there is no directory {self.cwd}") from error
            raise HostError("git is not installed", hint="install git 2.39 or newer") from error
        except ValueError as error:
            # No file, ref or revision has such a name, so nothing is lost by refusing it.
            raise UserError("a name with a NUL character cannot be given to git") from error
        except OSError as error:
            raise HostError(f"git could not be started: {error}") from error
        if done.returncode not in ok:
            raise GitFailed(args, done.returncode, done.stderr)
        return Done(done.returncode, done.stdout, done.stderr)

    def line(self, *args: str, ok: tuple[int, ...] = (0,)) -> str:
        """Runs git and returns its output as one line of text."""
        return os.fsdecode(self.run(*args, ok=ok).stdout).strip()


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


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    mine = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k in KEPT}
    return {
        **mine,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
        "GIT_EDITOR": ":",
        "GIT_MERGE_AUTOEDIT": "no",
        **extra,
    }


def _verb(args: tuple[str, ...]) -> str:
    return " ".join(word for word in args[:2] if len(word) < 40)
