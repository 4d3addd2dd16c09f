"""What a user asks of an installation: put stratum-git where his client looks, and take it out again."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import HostError
from stratum_git.install.assembly import Wanted, agreed, has_other_worktrees, parts_of, parts_to_take
from stratum_git.install.places import Places, Scope, places_of
from stratum_git.install.plan import Change, MovedError, Plan, carry_out, plan_install, plan_uninstall
from stratum_git.install.plugin import plugin_bundle
from stratum_git.install.predecessor import remarks
from stratum_git.install.program import Program
from stratum_git.install.record import Record, Records
from stratum_git.install.refusing import Refusal, Unusable

Result: TypeAlias = Literal["installed", "uninstalled", "unchanged", "planned", "refused"]
LINE = re.compile(r"[^\n]*\n|[^\n]+")
ROUNDS = 5
"""How often is planned again when somebody else writes the same files meanwhile."""


@dataclass(frozen=True, slots=True)
class Where:
    """What is installed into: a scope, and the folder that it is about."""

    scope: Scope | Literal["plugin"]
    root: Path


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
    wanted = agreed(places, wanted)

    def plan(record: Record, records: Records) -> Plan:
        return plan_install(parts_of(places, wanted), places.bounds, record, records.kept)

    said = [*_program(wanted, places), *remarks(places, wanted.name), *_after(places, wanted)]
    return _done(around, Where(places.scope, places.root), plan, said, dry_run=dry_run, forget=False)


def uninstall(around: Surroundings, scope: Scope, wanted: Wanted, *, dry_run: bool) -> Installation:
    """Brings back what was there before; where somebody has written since, takes out what is ours."""
    places = _places(around, scope)

    def plan(record: Record, records: Records) -> Plan:
        return plan_uninstall(parts_to_take(places, wanted), places.bounds, record, records.kept)

    return _done(around, Where(places.scope, places.root), plan, [], dry_run=dry_run, forget=True)


def install_plugin(
    around: Surroundings, folder: Path, program: Program, *, force: bool, dry_run: bool
) -> Installation:
    """Writes the plugin into a folder of its own."""
    folder = around.cwd / folder

    def plan(record: Record, records: Records) -> Plan:
        parts = plugin_bundle(folder, program).parts(force=force)
        return plan_install(parts, (folder,), record, records.kept)

    said = [program.remark] if program.remark else []
    place = shlex.quote(str(folder))
    said.append(f"Next: claude plugin marketplace add {place}; claude plugin install stratum@stratum-git")
    return _done(around, Where("plugin", folder), plan, said, dry_run=dry_run, forget=False)


def uninstall_plugin(
    around: Surroundings, folder: Path, program: Program, *, force: bool, dry_run: bool
) -> Installation:
    """Removes the folder of the plugin, but for what somebody has changed or added there."""
    folder = around.cwd / folder

    def plan(record: Record, records: Records) -> Plan:
        parts = plugin_bundle(folder, program).parts_to_take(force=force)
        return plan_uninstall(parts, (folder,), record, records.kept)

    said = ["If it was installed in a client: claude plugin uninstall stratum@stratum-git"]
    return _done(around, Where("plugin", folder), plan, said, dry_run=dry_run, forget=True)


def _places(around: Surroundings, scope: Scope) -> Places:
    repo = None if scope == "user" else around.repository()
    return places_of(scope, around.environment, repo)


def _done(
    around: Surroundings,
    where: Where,
    plan: Callable[[Record, Records], Plan],
    said: list[str],
    *,
    dry_run: bool,
    forget: bool,
) -> Installation:
    records = Records(around.state_home() / "stratum-git" / "installs")

    def came(result: Result, made: Plan) -> Installation:
        path = records.path(where.scope, where.root)
        record = path if path.exists() else None
        return Installation(
            result, where.scope, where.root, made.changes, made.kept, made.refusals, tuple(said), record
        )

    def planned() -> tuple[Record, Plan]:
        record = records.read(where.scope, where.root)
        try:
            return record, plan(record, records)
        except Unusable as error:
            return record, Plan(refusals=(Refusal(error.path or where.root, error.why, error.hint),))

    record, made = planned()
    if made.refusals:
        return came("refused", made)
    if not made.changes and not (forget and record.files):
        return came("unchanged", made)
    if dry_run:
        return came("planned", made)
    with records.held():
        for _ in range(ROUNDS):
            record, made = planned()
            if made.refusals:
                return came("refused", made)
            try:
                carry_out(made, where.scope, where.root, record, records, forget=forget)
            except MovedError:
                continue
            return came(("uninstalled" if forget else "installed") if made.changes else "unchanged", made)
    hint = "end the clients that are at work, and try once more"
    raise HostError(f"somebody else keeps writing {where.root}", hint=hint)


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
    texts = ((data or b"").decode("utf-8", "replace") for data in (change.before, change.after))
    old, new = (LINE.findall(text) for text in texts)
    name = str(change.path)
    was, now = ("/dev/null" if data is None else name for data in (change.before, change.after))
    for line in difflib.unified_diff(old, new, was, now):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
