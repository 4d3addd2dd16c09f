"""Specs that offer themselves as workflows, and drafts of ones to come."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from stratum_git.app.checking import read_spec
from stratum_git.app.writing import write_whole
from stratum_git.core.parse import load_spec
from stratum_git.errors import HostError, UserError
from stratum_git.model.ids import Json
from stratum_git.model.spec import Workflow

DRAFT = Path(".stratum/pipeline-draft.json")


@dataclass(frozen=True, slots=True)
class Offered:
    """A workflow and the file that offers it."""

    workflow: Workflow
    path: Path


def list_workflows(folder: Path) -> tuple[tuple[Offered, ...], tuple[str, ...]]:
    """Returns the workflows of the ``*.stratum.yaml`` files in *folder*, and what is wrong with others."""
    found: dict[str, Offered] = {}
    errors = []
    for path in sorted(folder.glob("*.stratum.yaml")):
        try:
            loaded = load_spec(read_spec(path))
        except UserError as error:
            errors.append(f"{path.name}: {error.message}")
            continue
        if loaded.spec is None:
            first = loaded.problems[0]
            errors.append(f"{path.name}: line {first.line}: {first.message}")
        elif loaded.spec.workflow is not None:
            name = loaded.spec.workflow.name
            if name in found:
                errors.append(f"Duplicate workflow name '{name}': {found[name].path} and {path}")
            else:
                found[name] = Offered(loaded.spec.workflow, path)
    return tuple(found.values()), tuple(errors)


def save_draft(project: Path, draft: dict[str, Json]) -> Path:
    """Writes a draft into a project and returns where it is; what it lacks has its defaults."""
    path = (project / DRAFT).absolute()
    if path.resolve() != project.resolve() / DRAFT:
        # A repository may have a link there, to a file of its reader's.
        raise HostError(f"{path} leads out of {project}", hint="there is a link: delete it, or move it away")
    name, phases = draft.get("name"), draft.get("phases")
    filled = {
        **draft,
        "name": name if isinstance(name, str) and name else "my-pipeline",
        "phases": phases if isinstance(phases, list) else [],
    }
    data = json.dumps(filled, indent=2, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"{path.parent} cannot be made: {error.strerror}") from error
    write_whole(path, f"{data}\n".encode())
    return path
