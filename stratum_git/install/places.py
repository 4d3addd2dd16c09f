"""Where a client looks, by scope; tried with Claude Code 2.1.197 and 2.1.328.

======== =========================== ============================= =============================
scope    servers                     hooks                         words
======== =========================== ============================= =============================
project  ``.mcp.json``               ``.claude/settings.json``     ``CLAUDE.md``
user     ``~/.claude.json``          ``~/.claude/settings.json``   ``~/.claude/CLAUDE.md``
local    ``~/.claude.json``, under   ``.claude/settings.local.     ``CLAUDE.local.md``
         the path of the project     json``
======== =========================== ============================= =============================

Skills and agents lie beside the settings. There are none that are both of a project and of one user alone, so
those of the scope ``local`` lie in the project, and git is told to overlook them. Nothing reads
``.claude/mcp.json``, where stratum-mcp wrote. With ``CLAUDE_CONFIG_DIR`` everything of the user is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from stratum_git.errors import UserError
from stratum_git.git.repository import Repository

Scope: TypeAlias = Literal["project", "user", "local"]
SCOPES: tuple[Scope, ...] = ("project", "user", "local")
PROJECTS = "stratum-git.json"
"""The list of the whole files that a project has of ours, in its folder of settings."""


@dataclass(frozen=True, slots=True)
class Places:
    """The files of a scope. *bounds* are the folders that links may lead into.

    *words* are the files that the client reads as words of the user's; the first is made where there is none.
    """

    scope: Scope
    root: Path
    bounds: tuple[Path, ...]
    servers: Path
    keys: tuple[str, ...]
    settings: Path
    words: tuple[Path, ...]
    folder: Path
    manifest: Path
    exclude: Path | None = None

    @property
    def secret(self) -> bool:
        """Returns whether the file of servers is one that only its owner may read."""
        return self.scope != "project"


def places_of(scope: Scope, environment: Mapping[str, str], repo: Repository | None) -> Places:
    """Returns the files of *scope*; *repo* is needed for those of a project."""
    home = Path(environment.get("HOME") or "/")
    given = environment.get("CLAUDE_CONFIG_DIR")
    folder = Path(given).absolute() if given else home / ".claude"
    state = (folder if given else home) / ".claude.json"
    if scope == "user" or repo is None:
        return Places(
            "user", folder, (home, folder), state, ("mcpServers",), folder / "settings.json",
            (folder / "CLAUDE.md",), folder, folder / "stratum-git.json",
        )  # fmt: skip
    if scope == "project":
        own = repo.root / ".claude"
        return Places(
            "project", repo.root, (repo.root,), repo.root / ".mcp.json", ("mcpServers",),
            own / "settings.json", (repo.root / "CLAUDE.md", own / "CLAUDE.md"), own,
            own / PROJECTS,
        )  # fmt: skip
    # The client takes all worktrees of a repository for one project, that of the main one.
    root = main_root(repo)
    own = root / ".claude"
    return Places(
        "local", root, (root, home, folder, repo.common_dir), state, ("projects", str(root), "mcpServers"),
        own / "settings.local.json", (root / "CLAUDE.local.md",), own, own / "stratum-git.local.json",
        repo.common_dir / "info" / "exclude",
    )  # fmt: skip


def main_root(repo: Repository) -> Path:
    """Returns the top of the main checkout; raises UserError where there is none."""
    if repo.git_dir == repo.common_dir:
        return repo.root
    if repo.common_dir.name != ".git":
        hint = "use --scope project or --scope user"
        raise UserError(f"{repo.common_dir} has no main checkout", hint=hint)
    return repo.common_dir.parent
