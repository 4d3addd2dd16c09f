"""A spec's text to a Spec, or to everything that is wrong with it."""

from __future__ import annotations

from stratum_git.core.shape import read_spec
from stratum_git.core.shape_notes import Notes
from stratum_git.core.validate import check_spec
from stratum_git.core.yaml_nodes import read_yaml
from stratum_git.model.changing import replace
from stratum_git.model.spec import Problem, Spec
from stratum_git.model.values import dataclass

SHOWN = 1000
"""Problems that are told apart; of a file with more, nobody reads the rest."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A spec, or its problems in the order of their lines. Exactly one of the two is there.

    ``warnings`` stop nothing.
    """

    spec: Spec | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


def load_spec(text: str) -> Loaded:
    """Returns the spec that *text* holds, or all of its problems at once. Nothing of it is run."""
    tree = read_yaml(text)
    if tree.root is None:
        return Loaded(None, tree.problems)
    notes = Notes(tree.root)
    spec = read_spec(tree.root, notes)
    check_spec(spec, notes)
    problems = _in_order([*tree.problems, *notes.found])
    warnings = _in_order(notes.warned)
    return Loaded(None, problems, warnings) if problems else Loaded(spec, (), warnings)


def _in_order(found: list[Problem]) -> tuple[Problem, ...]:
    problems = sorted(dict.fromkeys(found), key=lambda problem: problem.line)
    if len(problems) <= SHOWN:
        return tuple(problems)
    rest = f"there are {len(problems) - SHOWN} more problems after this line"
    return (
        *problems[:SHOWN],
        replace(problems[SHOWN - 1], path="", message=rest, hint="mend the ones before"),
    )
