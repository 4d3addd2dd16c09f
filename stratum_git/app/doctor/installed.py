"""Whether what is installed for Claude Code is what this version would install, in every scope."""

from __future__ import annotations

from collections.abc import Iterator

from stratum_git.app.doctor.entries import Broken, entries, read_object
from stratum_git.app.doctor.finding import Finding
from stratum_git.app.installing import Installation, install
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import StratumError
from stratum_git.git.repository import Repository
from stratum_git.install.assembly import Wanted
from stratum_git.install.documents import is_own_server
from stratum_git.install.hook_groups import OWN
from stratum_git.install.places import SCOPES, Scope, places_of
from stratum_git.install.program import program_of

SHOWN = 4


def installed(around: Surroundings, repo: Repository | None) -> Iterator[Finding]:
    """Says of each scope that has something of ours whether it is whole and up to date."""
    names = {
        one.scope: one.name
        for one in entries(around, repo)
        if not isinstance(one, Broken) and is_own_server(dict(one.row))
    }
    for scope in SCOPES:
        try:
            if scope == "user" or repo is not None:
                yield from _scope(around, repo, scope, names.get(scope))
        except StratumError as error:
            yield Finding(
                f"installed ({scope})",
                "warn",
                error.message,
                error.hint,
                f"stratum-git install --scope {scope}",
            )


def _scope(
    around: Surroundings, repo: Repository | None, scope: Scope, name: str | None
) -> Iterator[Finding]:
    places = places_of(scope, around.environment, repo)
    settings = read_object(places.settings)
    has_hooks = isinstance(settings, dict) and OWN.search(str(settings.get("hooks"))) is not None
    if name is None and not has_hooks and not places.manifest.exists():
        return
    wanted = Wanted(name or "stratum", program_of(around.environment))
    fix = f"stratum-git install --scope {scope}" + (
        f" --name {name}" if name not in {None, "stratum"} else ""
    )
    yield from _told(install(around, scope, wanted, dry_run=True), fix)


def _told(found: Installation, fix: str) -> Iterator[Finding]:
    check = f"installed ({found.scope})"
    for refusal in found.refusals:
        yield Finding(
            check, "fail", f"{refusal.path}: {refusal.why}", refusal.hint, f"$EDITOR {refusal.path}"
        )
    if found.result == "unchanged":
        yield Finding(check, "ok", "server, hooks, skills, agents and words are those of this version")
    elif found.changes:
        paths = [str(change.path) for change in found.changes]
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        detail = f"not as this version has it: {', '.join(paths[:SHOWN])}{more}"
        yield Finding(check, "warn", detail, "install it once more", fix)
    for kept in found.kept:
        detail = f"{kept.path} was changed by somebody: {kept.why}"
        yield Finding(check, "ok", detail, kept.hint, f"{fix} --force")
