"""Keeps git that an agent starts to the agent's own branch.

Two layers, both given by environment, so that nothing of the user's repository is changed. A configuration
that holds for this repository alone, wherever git is started from, has git ask a ``reference-transaction``
hook before it moves a ref. And a small ``git``, first in PATH, refuses what hooks do not see: settings,
worktrees, the HEAD and the index of other checkouts. The user's own hooks run after ours, as the agent's
policy says. Other repositories are as they ever were.

It is a fence and not a wall: whoever clears his environment, or writes into ``.git``, is past it. What it
stops and what it does not is tried, verb by verb, in ``tests/git/test_fence.py``; ``contracts/fence.md`` has
the table.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.process import Git
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Hooks, RefName

SCRIPTS = Path(__file__).with_name("fence_scripts")
OURS = ("reference-transaction", "pre-push")
CLIENT_HOOKS = (
    "applypatch-msg", "commit-msg", "post-applypatch", "post-checkout", "post-commit", "post-index-change",
    "post-merge", "post-rewrite", "pre-applypatch", "pre-commit", "pre-merge-commit", "pre-rebase",
    "prepare-commit-msg", "sendemail-validate",
)  # fmt: skip
"""What may appear in a folder of hooks that is part of the checkout, while an agent is at work in it."""

SETTINGS = """\
[core]
	hooksPath = {hooks}
[gc]
	auto = 0
	packRefs = false
	pruneExpire = never
	reflogExpire = never
	reflogExpireUnreachable = never
	worktreePruneExpire = never
[maintenance]
	auto = false
[checkout]
	guess = false
[help]
	autocorrect = never
"""
"""What git is told in the repository that is fenced, and nowhere else."""


@dataclass(frozen=True, slots=True)
class Post:
    """Where an agent stands: its git directory and branch, ``None`` when nothing there is its own.

    ``copies``: a folder of the checkout cannot be renamed there, so ``git mv`` has to copy it.
    """

    slot: Path
    git_dir: Path | None = None
    branch: RefName | None = None
    copies: bool = False


@dataclass(frozen=True, slots=True)
class Fence:
    """The fence around one repository. Its scripts lie below ``folder``."""

    repo: Repository
    folder: Path

    def around(self, environment: Mapping[str, str], post: Post, hooks: Hooks = "inherit") -> dict[str, str]:
        """Returns *environment* with the fence around whoever stands at *post*; raises HostError."""
        path = _without(environment.get("PATH", os.defpath), self.folder)
        git = shutil.which("git", path=path)
        if git is None:
            raise HostError("there is no git in the agent's PATH, so it cannot be fenced")
        place = self._built(git, environment, hooks)
        return {
            **environment,
            **_settings(environment, self.repo.common_dir.resolve(), place / "config"),
            "PATH": f"{place / 'bin'}:{path}",
            "STRATUM_FENCE_OWN": "" if post.git_dir is None else str(post.git_dir.resolve()),
            "STRATUM_FENCE_REF": post.branch or "",
            "STRATUM_FENCE_SLOT": str(post.slot),
            "STRATUM_FENCE_COPIES": "yes" if post.copies else "",
        }

    def _built(self, git: str, environment: Mapping[str, str], hooks: Hooks) -> Path:
        """Returns the folder of the scripts for these facts, made or mended."""
        files = _guarded_files(environment)
        source = _given_hooks(environment) or _configured_hooks(self.repo, _stamps(self.repo, files))
        named = _chained(source, hooks)
        facts = {
            "git": git,
            "common": str(self.repo.common_dir.resolve()),
            "root": str(self.repo.root.resolve()),
            "main": str(_main_checkout(self.repo.common_dir.resolve())),
            "condition": _condition(self.repo.common_dir.resolve()),
            "user_hooks": source,
            "chained": "yes" if _wants(hooks, "reference-transaction") else "no",
            "settings": "\n".join(files),
            "system": environment.get("GIT_CONFIG_SYSTEM", ""),
            "commands": f" {' '.join(_commands())} ",
        }
        digest = hashlib.sha256(repr((facts, named, _scripts())).encode("utf-8", "surrogateescape"))
        place = self.folder / digest.hexdigest()[:16]
        facts |= {"bin": str(place / "bin"), "hooks": str(place / "hooks"), "config": str(place / "config")}
        _write_all(place, _files(facts, named))
        return place


def _files(facts: Mapping[str, str], named: Collection[str]) -> dict[str, bytes]:
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in facts.items())
    scripts = _scripts()

    def script(name: str) -> bytes:
        return os.fsencode(f"#!/bin/sh\n{head}\n{scripts[name]}")

    settings = SETTINGS.format(hooks=_in_quotes(facts["hooks"]))
    return {
        "config": os.fsencode(settings),
        "bin/git": script("git"),
        **{f"hooks/{name}": script(name) for name in OURS},
        **{f"hooks/{name}": script("hook") for name in named},
    }


@cache
def _scripts() -> Mapping[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(SCRIPTS.iterdir())}


@cache
def _commands() -> tuple[str, ...]:
    """Returns the verbs that git knows: none of them can be an alias."""
    return tuple(Git(Path("/")).line("--list-cmds=builtins,main,others").split())


@cache
def _configured_hooks(repo: Repository, stamps: tuple[int, ...]) -> str:
    """Returns where the user's hooks are: a path, relative to the top of a checkout if it is relative.

    Asked again when one of the files has changed in which it would be set.
    """
    del stamps
    asked = ("config", "--type=path", "-z", "--get-all", "core.hooksPath")
    found = repo.git.run(*asked, ok=(0, 1)).stdout.split(b"\0")[:-1]
    # The last one is that which this program gives to its own gits.
    return os.fsdecode(found[-2]) if len(found) > 1 else str(repo.common_dir.resolve() / "hooks")


def _stamps(repo: Repository, files: Collection[str]) -> tuple[int, ...]:
    own = (repo.common_dir / "config", repo.git_dir / "config.worktree")
    return tuple(_stamp(path) for path in (*own, *map(Path, files)))


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _main_checkout(common: Path) -> Path:
    return common.parent if common.name == ".git" else common


def _given_hooks(environment: Mapping[str, str]) -> str | None:
    found = None
    for index in range(_count(environment)):
        if environment.get(f"GIT_CONFIG_KEY_{index}", "").lower() == "core.hookspath":
            found = environment.get(f"GIT_CONFIG_VALUE_{index}")
    return found


def _chained(source: str, hooks: Hooks) -> tuple[str, ...]:
    """Returns the hooks that are handed on: those that are there, or may come with the agent's own work."""
    names = _executables(Path(source)) if Path(source).is_absolute() else CLIENT_HOOKS
    return tuple(name for name in names if name not in OURS and _wants(hooks, name))


def _wants(hooks: Hooks, name: str) -> bool:
    return hooks == "inherit" or (hooks != "off" and name in hooks)


def _executables(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(p.name for p in folder.iterdir() if not p.suffix and os.access(p, os.X_OK)))
    except OSError:
        return ()


def _guarded_files(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the user's own settings files, where they are or would be."""
    home = environment.get("HOME", "")
    config = environment.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return (environment.get("GIT_CONFIG_GLOBAL", ""), f"{home}/.gitconfig", f"{config}/git/config")


def _settings(environment: Mapping[str, str], common: Path, config: Path) -> dict[str, str]:
    """Returns the variables that have git read *config* in the repository at *common*, and nowhere else."""
    first = _count(environment)
    # Not all that is below it: the submodules of a worktree are as free as any other repository.
    places = ("", "/worktrees/*", "/modules/**")
    keys = [f"{_condition(common)}{place}.path" for place in places]
    found = {"GIT_CONFIG_COUNT": str(first + len(keys)), "STRATUM_FENCE_AT": str(first)}
    for index, key in enumerate(keys, first):
        found |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": str(config)}
    return found


def _condition(common: Path) -> str:
    """Returns what stands before ``.path`` in a setting that includes others where git is in *common*."""
    escaped = re.sub(r"([*?\[\]\\])", r"\\\1", str(common))
    return f"includeIf.gitdir:{escaped}"


def _count(environment: Mapping[str, str]) -> int:
    text = environment.get("GIT_CONFIG_COUNT", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _without(path: str, folder: Path) -> str:
    """Returns *path* without what an outer fence of the same repository put there."""
    return ":".join(part for part in path.split(":") if not part.startswith(f"{folder}/"))


def _in_quotes(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write_all(place: Path, files: Mapping[str, bytes]) -> None:
    """Makes *place* hold exactly these files. An agent can write there: what it changed is put right."""
    try:
        for folder in (place, place / "bin", place / "hooks"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, data in files.items():
            if not _is_as_written(place / name, data):
                _replace(place / name, data)
        for folder in (place / "bin", place / "hooks"):
            for path in folder.iterdir():
                if f"{folder.name}/{path.name}" not in files and not path.name.startswith(".new-"):
                    path.unlink()
    except OSError as error:
        raise HostError(f"the fence cannot be written: {error}") from error


def _is_as_written(path: Path, data: bytes) -> bool:
    try:
        return not path.is_symlink() and path.stat().st_mode & 0o777 == 0o700 and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _replace(path: Path, data: bytes) -> None:
    """Writes a file in one go: somebody may be starting it at this moment."""
    new = path.with_name(f".new-{secrets.token_hex(6)}")
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
    with os.fdopen(file, "wb") as opened:
        opened.write(data)
    new.chmod(0o700)
    new.replace(path)
