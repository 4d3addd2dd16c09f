"""The base of a task whose needs conflict: resolved as it was before, and by nothing that is not verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Json
from stratum_git.model.state import Exhausted
from stratum_git.store.resolutions import Provenance, Resolution, Resolutions, Side, Triple
from tests.support.drivers import fake_mergiraf
from tests.support.flows import Stage, dispatch_spec, fan, words, writes

TASKS: tuple[Json, ...] = ({"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a", "b"]})


def play(assignment: Assignment) -> Script:
    return writes("m.py" if assignment.task != "c" else "c.txt", f"import {assignment.task}\n")


async def test_needs_that_conflict_go_together_as_they_did_before(
    stage: Stage, writer: ObjectWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_mergiraf(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    stage.scratch.commit("module", {"m.py": "import os\n"})
    base = stage.scratch.head()
    state = await stage.play(dispatch_spec(), play, TASKS)
    # A driver could have merged it. But nobody verifies a base.
    assert words(state) == {"a": "verified", "b": "verified", "c": "exhausted"}
    (last,) = (now for now in fan(state).tasks if isinstance(now, Exhausted))
    assert last.kind == "base"

    stage.scratch.git("reset", "-q", "--hard", base)
    sides: list[Side] = [
        ("100644", writer.blob(f"import {name}\n".encode())) for name in ("os", "a", "b", "both")
    ]
    whence = Provenance("person", "Tess Ter", "flow-1", "build", "b", 1.0)
    with TreeReader(stage.around.repository()) as trees:
        resolution = Resolution(Triple(*sides[:3]), sides[3], "m.py", whence)
        Resolutions(stage.around.repository(), trees).add(
            writer, Signature("Tess Ter", "t@x", 1.0), [resolution]
        )
    state = await stage.play(dispatch_spec(), play, TASKS)
    assert words(state) == {"a": "merged", "b": "merged", "c": "merged"}
    assert stage.scratch.show("main:m.py") == "import both"
    assert stage.scratch.show("main:c.txt") == "import c"
