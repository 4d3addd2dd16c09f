"""The project's own settings: its agents, their secrets, merge drivers, and where slots lie."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping

from stratum_git.agents.base import AgentSpec
from stratum_git.agents.command import which_problem
from stratum_git.agents.kinds import agent_of
from stratum_git.app.config import FILE, Config
from stratum_git.app.doctor.finding import Finding, Verdict
from stratum_git.app.drivers import driver_specs
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import StratumError
from stratum_git.git.repository import Repository
from stratum_git.slots.folders import StateFolders

SPACE = 1024**3
"""Bytes that should be free where slots lie; each one is a checkout."""


def agents(around: Surroundings, repo: Repository, config: Config) -> Iterator[Finding]:
    """Says whether the agents and merge drivers could be started; it starts none."""
    for name, spec in config.agents.items():
        problem = _problem(spec, around.environment)
        verdict: Verdict = "ok" if problem is None else "fail"
        what = " ".join(spec.command) or spec.kind
        hint = "" if problem is None else f"install it, or mend agents.{name} in {FILE}"
        yield Finding(
            f"agent {name}", verdict, problem or what, hint, "" if problem is None else f"$EDITOR {FILE}"
        )
        yield from _secrets(spec, around.environment)
        if not spec.fence:
            detail = "its git may move any branch, the stash, tags, settings, and push"
            hint = f"remove `fence: off` of agents.{name}, or give its steps `isolation: branch`"
            yield Finding(f"fence of {name}", "warn", detail, hint, f"$EDITOR {FILE}")
    for driver in driver_specs(around, repo, config):
        missing = which_problem(driver.command, around.environment.get("PATH", os.defpath))
        known = ", ".join(driver.files) or "the files it knows"
        detail = f"{driver.command[0]}, for {known}" if missing is None else f"it wants to run {missing}"
        found: Verdict = "ok" if missing is None else "warn"
        fix = "" if missing is None else f"$EDITOR {FILE}"
        yield Finding(f"merge driver {driver.name}", found, detail, fix=fix)


def room(folders: StateFolders) -> Iterator[Finding]:
    """Says whether slots can be made, and how much room there is for them."""
    # It is made by whoever needs it first; this only looks.
    above = next(place for place in (folders.root, *folders.root.parents) if place.is_dir())
    free = shutil.disk_usage(above).free
    detail = f"{folders.root}, {free // 1024**2} MiB free"
    if not os.access(above, os.W_OK):
        fix = f"sudo chown -R $USER {above}"
        yield Finding("state folder", "fail", f"{folders.root} cannot be written to", "", fix)
    elif free < SPACE:
        hint = "slots are checkouts and need room"
        yield Finding("state folder", "warn", detail, hint, "stratum-git gc --older-than 7d")
    else:
        yield Finding("state folder", "ok", detail)


def _problem(spec: AgentSpec, environment: Mapping[str, str]) -> str | None:
    try:
        return agent_of(spec, environment).problem()
    except StratumError as error:
        return error.message


def _secrets(spec: AgentSpec, environment: Mapping[str, str]) -> Iterator[Finding]:
    if not spec.secrets:
        return
    given = {**environment, **spec.env}
    unset = [name for name in spec.secrets if not given.get(name)]
    detail = ", ".join(spec.secrets) + (f"; not set: {', '.join(unset)}" if unset else "")
    yield Finding(f"secrets of {spec.name}", "ok", detail)
