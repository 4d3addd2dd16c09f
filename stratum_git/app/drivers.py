"""Which merge drivers there are: those that the settings name, and mergiraf where it is installed."""

from __future__ import annotations

import os

from stratum_git.agents.base import DriverSpec
from stratum_git.agents.drivers import MERGIRAF, Drivers, found_on
from stratum_git.app.config import Config
from stratum_git.app.surroundings import Surroundings
from stratum_git.git.repository import Repository


def driver_specs(around: Surroundings, repo: Repository, config: Config) -> tuple[DriverSpec, ...]:
    """Returns the drivers in the order in which they are asked. Nothing is started."""
    named = tuple(spec for spec in config.drivers.values() if spec is not None)
    if MERGIRAF in config.drivers:
        return named
    found = found_on(around.environment.get("PATH", os.defpath), repo.root)
    return named if found is None else (*named, found)


def drivers_of(around: Surroundings, repo: Repository, config: Config) -> Drivers:
    """Returns the drivers of a run."""
    return Drivers(driver_specs(around, repo, config), around.environment)
