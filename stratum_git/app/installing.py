"""What a user asks of an installation: put stratum-git where his client looks, and take it out again."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import HostError
from stratum_git.install.assembly import Wanted, has_other_worktrees, parts_of, parts_to_take
from stratum_git.install.places import Places, Scope, places_of
from stratum_git.install.plan import Change, MovedError, Plan, carry_out, plan_install, plan_uninstall
from stratum_git.install.predecessor import remarks
from stratum_git.install.record import Record, Records
from stratum_git.install.refusing import Refusal, Unusable

Result: TypeAlias = Literal["installed", "uninstalled", "unchanged", "planned", "refused"]
ROUNDS = 5
"""How often is planned again when somebody else writes the same files meanwhile."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What came of it: with *result* ``refused`` nothing was written, and *refusals* says why."""

    result: Result
    scope: Scope | Literal["plugin"]
    root: Path
    changes: tuple[Change, ...]
    kept: tuple[Refusal, ...]
    refusals: tuple[Refusal, ...]
    remarks: tuple[str, ...]
    record: Path | None

    def diff(self) -> str:
        """Returns the changes as a patch."""
        return "".join(line for change in self.changes for line in _diff(change))


def install(around: Surroundings, scope: Scope, wanted: Wanted, *, dry_run: bool) -> Installation:
    """Puts a server, hooks, skills, agents and words where the client looks; again, it changes nothing."""
    places = _places(around, scope)

    def plan(record: Record, records: Records) -> Plan:
        return plan_install(parts_of(places, wanted), places.bounds, record, records.kept)

    said = [*_program(wanted, places), *remarks(places, wanted.name), *_after(places, wanted)]
    return _done(around, places, plan, said, dry_run=dry_run, forget=False)


def uninstall(around: Surroundings, scope: Scope, wanted: Wanted, *, dry_run: bool) -> Installation:
    """Brings back what was there before; where somebody has written since, takes out what is ours."""
    places = _places(around, scope)

    def plan(record: Record, records: Records) -> Plan:
        return plan_uninstall(parts_to_take(places, wanted), places.bounds, record, records.kept)

    return _done(around, places, plan, [], dry_run=dry_run, forget=True)


def _places(around: Surroundings, scope: Scope) -> Places:
    repo = None if scope == "user" else around.repository()
    return places_of(scope, around.environment, repo)


def _done(
    around: Surroundings,
    places: Places,
    plan: Callable[[Record, Records], Plan],
    said: list[str],
    *,
    dry_run: bool,
    forget: bool,
) -> Installation:
    records = Records(around.state_home() / "stratum-git" / "installs")

    def came(result: Result, made: Plan) -> Installation:
        path = records.path(places.scope, places.root)
        record = path if path.exists() else None
        return Installation(
            result, places.scope, places.root, made.changes, made.kept, made.refusals, tuple(said), record
        )

    def planned() -> tuple[Record, Plan]:
        record = records.read(places.scope, places.root)
        try:
            return record, plan(record, records)
        except Unusable as error:
            return record, Plan(refusals=(Refusal(places.manifest, error.why, error.hint),))

    if dry_run:
        _, made = planned()
        return came("refused" if made.refusals else "planned" if made.changes else "unchanged", made)
    with records.held():
        for _ in range(ROUNDS):
            record, made = planned()
            if made.refusals:
                return came("refused", made)
            try:
                carry_out(made, places.scope, places.root, record, records, forget=forget)
            except MovedError:
                continue
            return came(("uninstalled" if forget else "installed") if made.changes else "unchanged", made)
    hint = "end the clients that are at work, and try once more"
    raise HostError(f"somebody else keeps writing {places.root}", hint=hint)


def _program(wanted: Wanted, places: Places) -> Iterator[str]:
    if wanted.program.remark:
        yield wanted.program.remark
    if places.scope == "project" and not wanted.program.is_portable:
        yield "What goes into .mcp.json and .claude/settings.json is for this machine: do not commit it."


def _after(places: Places, wanted: Wanted) -> Iterator[str]:
    if has_other_worktrees(places):
        yield f"{places.settings} has a hook for WorktreeCreate already: it stays, and ours was left out."
    if places.scope == "project":
        yield f"Claude Code asks once whether to use the server {wanted.name!r} of this project: say yes."


def _diff(change: Change) -> Iterator[str]:
    old, new = ((data or b"").decode("utf-8", "replace") for data in (change.before, change.after))
    name = str(change.path)
    was, now = ("/dev/null" if data is None else name for data in (change.before, change.after))
    for line in difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), was, now):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
