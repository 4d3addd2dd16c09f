"""A spec's text to a Spec, or to everything that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from stratum_git.core.shape import read_spec
from stratum_git.core.validate import semantic_problems
from stratum_git.core.yaml_nodes import read_yaml
from stratum_git.model.spec import Problem, Spec


@dataclass(frozen=True, slots=True)
class Loaded:
    """A spec, or its problems in the order of their lines. Exactly one of the two is there."""

    spec: Spec | None
    problems: tuple[Problem, ...]


def load_spec(text: str) -> Loaded:
    """Returns the spec that *text* holds, or all of its problems at once. Nothing of it is run."""
    root = read_yaml(text)
    if isinstance(root, Problem):
        return Loaded(None, (root,))
    spec, found = read_spec(root)
    found += semantic_problems(spec)
    if not found:
        return Loaded(spec, ())
    unique = dict.fromkeys(found)
    return Loaded(None, tuple(sorted(unique, key=lambda problem: problem.line)))
