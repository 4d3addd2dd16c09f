"""The repository: what kind it is, as far as that matters for slots, merges and landings."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping

from stratum_git.app.doctor.finding import Finding
from stratum_git.git.repository import Repository, head_of, identity


def head(repo: Repository) -> Iterator[Finding]:
    """Says what is checked out, and who commits."""
    found = head_of(repo)
    if found.branch is None:
        hint = "check a branch out: results land on it"
        yield Finding("head", "warn", f"HEAD is detached at {found.oid}", hint, "git switch -")
    else:
        yield Finding("head", "ok", f"{found.branch} at {found.oid}")
    who = identity(repo)
    if who.email == "stratum-git@localhost":
        hint = "git config user.name NAME; git config user.email ADDRESS"
        fix = "git config user.name NAME && git config user.email ADDRESS"
        yield Finding("identity", "warn", "nobody is set to commit as", hint, fix)
    else:
        yield Finding("identity", "ok", f"{who.name} <{who.email}>")


def kind(repo: Repository) -> Iterator[Finding]:
    """Says what is unusual about a repository, and what follows from it."""
    settings = _settings(repo)
    if repo.git_dir != repo.common_dir:
        yield Finding("worktree", "ok", f"this is a linked worktree of {repo.common_dir}")
    if (repo.common_dir / "shallow").exists():
        detail = "the clone is shallow: merges that need older history fail"
        yield Finding("shallow clone", "warn", detail, "fetch the rest", "git fetch --unshallow")
    for remote in _promisors(settings):
        detail = (
            f"files that are not here come from {remote}: a merge that needs some is an error that names them"
        )
        yield Finding("partial clone", "warn", detail, "fetch all of it", _whole(remote))
    if (repo.root / ".gitmodules").exists():
        detail = "there are submodules: in slots they are empty folders"
        hint = "where agents need them, write `setup: [git submodule update --init]` into the step"
        yield Finding("submodules", "warn", detail, hint)
    if settings.get("core.sparsecheckout") == "true":
        yield Finding("sparse checkout", "ok", "the checkout is sparse; slots have all files")
    if settings.get("core.fsmonitor", "false") not in {"false", ""}:
        detail = "core.fsmonitor is set; git that stratum-git starts does without it"
        yield Finding("fsmonitor", "ok", detail)
    if settings.get("extensions.refstorage") == "reftable":
        yield Finding("refs", "ok", "refs are in reftables")
    if repo.object_format != "sha1":
        yield Finding("objects", "ok", f"objects have {repo.object_format} names")


def _promisors(settings: Mapping[str, str]) -> list[str]:
    said = (key for key, value in settings.items() if key.endswith(".promisor") and value != "false")
    return [
        key.removeprefix("remote.").removesuffix(".promisor") for key in said if key.startswith("remote.")
    ]


def _whole(remote: str) -> str:
    """Returns what fetches all that a remote has, and tells git that it is all."""
    name = shlex.quote(remote)
    unset = [
        f"git config --unset {shlex.quote(f'remote.{remote}.{key}')}"
        for key in ("promisor", "partialclonefilter")
    ]
    return " && ".join((f"git fetch --refetch --no-filter {name}", *unset))


def _settings(repo: Repository) -> Mapping[str, str]:
    """Returns the settings that the user has; what our git is told on its command line is none of them."""
    said = repo.git.run("config", "--list", "--show-scope", "-z", ok=(0, 1)).stdout
    parts = [os.fsdecode(part) for part in said.split(b"\0")]
    rows = ((scope, *row.partition("\n")[::2]) for scope, row in zip(parts[::2], parts[1::2], strict=False))
    return {key: value for scope, key, value in rows if scope != "command"}
