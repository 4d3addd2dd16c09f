"""The settings of the client, as far as hooks are in them: whether it reads the file, and ours answer.

Settings are not believed: this program is asked as the client would ask it, with an event from a folder in
which there is nothing to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stratum_git import __version__
from stratum_git.agents.brief import hear
from stratum_git.app.doctor.entries import Broken, config_home, plugins, read_object
from stratum_git.app.doctor.finding import Finding, found_on_path
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import StratumError
from stratum_git.git.repository import Repository
from stratum_git.install.hook_groups import OWN
from stratum_git.model.ids import Json
from stratum_git.resources import hooks as shipped_hooks

KINDS = ("command", "http", "mcp_tool", "prompt", "agent")
WHOLE = "PreToolUse"
"""The event of which one malformed entry makes the client ignore the whole file, without a word."""
NOWHERE = Path("/")
SLOW = 3.0
AT_ONCE = 4
MOST = 10.0
"""Seconds that are waited for a hook here: the shortest deadline that the client gives ours."""


def settings_files(around: Surroundings, repo: Repository | None) -> tuple[Path, ...]:
    """Returns the settings that the client reads here."""
    own = config_home(around) / "settings.json"
    if repo is None:
        return (own,)
    folder = repo.root / ".claude"
    return own, folder / "settings.json", folder / "settings.local.json"


def hooks(around: Surroundings, repo: Repository | None) -> Iterator[Finding]:
    """Says whether the settings are read, which hooks of ours are in them, and whether these answer."""
    found: dict[str, str] = {}
    for file in settings_files(around, repo):
        row = read_object(file)
        if isinstance(row, Broken):
            hint = f"the client ignores the whole file silently; {row.hint}"
            yield Finding("settings", "fail", f"{file}: {row.why}", hint, f"$EDITOR {file}")
        elif row is not None:
            yield from _malformed(file, row)
            found |= _own(row)
            if found and row.get("disableAllHooks") is True:
                detail = f"{file} says disableAllHooks: no hook runs, ours neither"
                yield Finding("hooks", "warn", detail, "take that out", f"$EDITOR {file}")
    plugged = [place for place in plugins(around) if (place / "hooks" / "hooks.json").is_file()]
    yield from _plugged(plugged, found)
    if plugged:
        found = {**dict.fromkeys(shipped_names(), ""), **found}
    if not found:
        hint = "`stratum-git install` registers them, with the server and the skills"
        yield Finding("hooks", "ok", "none is registered in settings here", hint, "stratum-git install")
        return
    yield from _answering(sorted(found), found, around, repo)


def _plugged(places: list[Path], registered: Mapping[str, str]) -> Iterator[Finding]:
    """Says what is the matter with our plugin, as far as hooks are in it."""
    for place in places:
        manifest = read_object(place / ".claude-plugin" / "plugin.json")
        version = manifest.get("version") if isinstance(manifest, dict) else None
        update = "claude plugin update stratum@stratum-git"
        if version != __version__:
            detail = f"the plugin in {place} is {version}, and this is {__version__}"
            yield Finding("plugin", "warn", detail, "bring it up to date, and start the client again", update)
        else:
            yield Finding("plugin", "ok", f"{version}, in {place}")
        dead = [name for name in shipped_names() if not os.access(place / "hooks" / name, os.X_OK)]
        if dead:
            detail = f"hooks of the plugin that cannot be started: {', '.join(dead)}"
            yield Finding("plugin", "fail", detail, "install it once more", update)
    if places and registered:
        detail = "the plugin has the hooks, and settings too: each of them runs twice"
        yield Finding("hooks", "warn", detail, "keep one of the two", "stratum-git uninstall")


def _malformed(file: Path, row: Mapping[str, Json]) -> Iterator[Finding]:
    events = row.get("hooks")
    if events is None:
        return
    if not isinstance(events, dict):
        yield _bad(file, "hooks", "is no object of events", whole=True)
        return
    for event, groups in events.items():
        why = _wrong(groups)
        if why:
            yield _bad(file, f"hooks.{event}", why, whole=event == WHOLE)


def _bad(file: Path, place: str, why: str, *, whole: bool) -> Finding:
    what = "the client ignores the WHOLE file for it" if whole else "the client leaves this one out"
    hint = f'{what}; the form is [{{"matcher": "Bash", "hooks": [{{"type": "command", "command": "..."}}]}}]'
    return Finding("settings", "fail" if whole else "warn", f"{file}: {place} {why}", hint, f"$EDITOR {file}")


def _wrong(groups: Json) -> str:
    if not isinstance(groups, list):
        return "is no list"
    for number, group in enumerate(groups):
        hooks_ = group.get("hooks") if isinstance(group, dict) else None
        if not isinstance(group, dict) or not isinstance(hooks_, list):
            return f"entry {number} has no list `hooks`"
        if not isinstance(group.get("matcher", ""), str):
            return f"the matcher of entry {number} is no text"
        for hook in hooks_:
            if not isinstance(hook, dict) or hook.get("type") not in KINDS:
                return f"entry {number} has a hook whose type is none of {', '.join(KINDS)}"
            if hook["type"] == "command" and not isinstance(hook.get("command"), str):
                return f"entry {number} has a hook without a command"
    return ""


def _own(row: Mapping[str, Json]) -> dict[str, str]:
    """Returns the hooks of ours in settings, by their names, with their commands."""
    found: dict[str, str] = {}
    events = row.get("hooks")
    for groups in events.values() if isinstance(events, dict) else ():
        for group in groups if isinstance(groups, list) else ():
            inner = group.get("hooks") if isinstance(group, dict) else None
            for hook in inner if isinstance(inner, list) else ():
                command = hook.get("command") if isinstance(hook, dict) else None
                match = OWN.search(command) if isinstance(command, str) else None
                if match is not None and isinstance(command, str):
                    found[match[1]] = command
    return found


def shipped_names() -> tuple[str, ...]:
    """Returns the names of the hooks that are shipped."""
    listed = json.loads((shipped_hooks() / "hooks.json").read_bytes())["hooks"]
    commands = (hook["command"] for groups in listed.values() for group in groups for hook in group["hooks"])
    return tuple(command.strip("\"'").rpartition("/")[2] for command in commands)


def _answering(
    names: list[str], commands: Mapping[str, str], around: Surroundings, repo: Repository | None
) -> Iterator[Finding]:
    known = set(shipped_names())
    old = [name for name in names if name not in known]
    if old:
        detail = f"registered and not known any more: {', '.join(old)}"
        yield Finding("hooks", "warn", detail, "", "stratum-git install")
    missing = sorted(known - set(names))
    if missing:
        detail = f"shipped and not registered: {', '.join(missing)}"
        yield Finding("hooks", "warn", detail, "", "stratum-git install")
    program = found_on_path("stratum-git", around.environment, repo)
    named = next(
        (Path(word) for c in commands.values() for word in c.split() if word.endswith("/stratum-git")), None
    )
    if named is not None and not named.is_file():
        detail = f"they start {named}, which is not there: they do nothing"
        yield Finding("hooks", "fail", detail, "", "stratum-git install")
        return
    if program is None and named is None:
        detail = "stratum-git is not on PATH: the hooks do nothing"
        yield Finding("hooks", "fail", detail, "put it there", "pipx install stratum-git")
        return
    yield from _tried([name for name in names if name in known], program or named, around, repo)


def _tried(
    names: list[str], program: Path | None, around: Surroundings, repo: Repository | None
) -> Iterator[Finding]:
    if program is None or (repo is not None and program.resolve().is_relative_to(repo.root)):
        yield Finding(
            "hooks", "warn", f"not tried, since {program} lies in the repository", "", "stratum-git install"
        )
        return
    ask = _asker(program, around)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(names, pool.map(ask, names), strict=True))
    bad = {name: why for name, (_, why) in answers.items() if why}
    for name, why in bad.items():
        yield Finding(f"hook {name}", "fail", why, "", f"echo '{{}}' | stratum-git hook {name}")
    good = {name: seconds for name, (seconds, why) in answers.items() if not why}
    if good:
        slowest = max(good, key=lambda name: good[name])
        detail = f"{len(good)} hooks answer, the slowest ({slowest}) in {good[slowest]:.2f} s"
        slow = good[slowest] > SLOW
        yield Finding(
            "hooks", "warn" if slow else "ok", detail, "the machine is busy, or slow" if slow else ""
        )


def _asker(program: Path, around: Surroundings) -> Callable[[str], tuple[float, str]]:
    def ask(name: str) -> tuple[float, str]:
        """Returns the seconds that a hook took, and what is wrong with it."""
        event = json.dumps({"session_id": "doctor", "cwd": str(NOWHERE)}).encode()
        try:
            said = hear(
                (str(program), "hook", name),
                cwd=NOWHERE,
                environment=around.environment,
                seconds=MOST,
                said=event,
            )
        except StratumError as error:
            return 0.0, error.message
        if said.late:
            return said.seconds, f"no answer within {MOST:g} s"
        # Who has to make a worktree says no where there is no repository; that is an answer, too.
        if said.code != 0 and not said.words.startswith(f"stratum-git hook {name}"):
            return said.seconds, f"it ended with {said.code}: {said.words}"
        return said.seconds, ""

    return ask
