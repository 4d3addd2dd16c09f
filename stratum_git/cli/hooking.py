"""What a hook of the client's is answered, where a glance does not settle it (``answering.py``)."""

from __future__ import annotations

from importlib import import_module

from stratum_git.app.hooks.asked import LOOKING, Asked, Ground, Heavier
from stratum_git.app.hooks.calls import HOOKS, place_of, row_of
from stratum_git.app.hooks.glances import Glance, glance_of, may_matter, standing
from stratum_git.errors import StratumError
from stratum_git.git.whereabouts import Undecided

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from stratum_git.app.hooks.asked import Answer


def asked_of(name: str, said: bytes, cwd: Path, environment: Mapping[str, str]) -> Asked:
    """Returns what a client asks, by the JSON that it says; raises StratumError or ValueError."""
    row = row_of(said)
    return asked_at(name, row, place_of(row) or str(cwd), environment)


def asked_at(name: str, row: Mapping[str, object], cwd: str, environment: Mapping[str, str]) -> Asked:
    """Returns what a client asks about a place; raises StratumError."""
    if name not in HOOKS:
        raise StratumError(f"there is no hook called {name!r}", hint=f"there are {', '.join(HOOKS)}")
    seen = glance_of(row, cwd, environment)
    if seen is None:
        seen = _settled(row, cwd, environment)
    ground = None
    if seen.checkout is not None and seen.state is not None:
        ground = Ground(seen.checkout, seen.state)
    return Asked(row, cwd, environment, ground, seen)


def answers(name: str, asked: Asked) -> Iterator[Answer]:
    """Yields what is answered: nothing is loaded for a hook that can have nothing to say."""
    for part in HOOKS[name][1]:
        if may_matter(part, asked.seen):
            yield _answer(part, name, asked)


def _answer(part: str, name: str, asked: Asked) -> Answer:
    ground = asked.ground
    if ground is None or part not in LOOKING:
        return _from(part, name, asked)
    hooks = "stratum_git.app.hooks"
    ground.looks = import_module(f"{hooks}.unassisted").Unassisted(ground)
    try:
        return _from(part, name, asked)
    except Heavier as more:
        return _from(more.part, name, asked)
    except Undecided:
        # Nothing was done yet: what a hook does follows from what it has looked up.
        ground.looks = import_module(f"{hooks}.aided").Aided(ground)
    try:
        return _from(part, name, asked)
    except Heavier as more:
        return _from(more.part, name, asked)


def _from(part: str, name: str, asked: Asked) -> Answer:
    module = import_module(f"stratum_git.app.hooks.{part}")
    answer: Answer = getattr(module, name.replace("-", "_"))(asked)
    return answer


def _settled(row: Mapping[str, object], cwd: str, environment: Mapping[str, str]) -> Glance:
    """Returns a glance where settings say where slots lie."""
    checkout = standing(cwd, environment)
    if checkout is None:
        return Glance(row, None, None)
    root = import_module("pathlib").Path(checkout.root)
    places = import_module("stratum_git.app.places")
    around = import_module("stratum_git.app.surroundings").Surroundings(root, environment)
    config = import_module("stratum_git.app.config").read_config(root)
    return Glance(row, checkout, str(places.folders_of(around, around.repository(), config).root))
