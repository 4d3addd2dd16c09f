"""A flow comes back from its files, however long it is, and an event changes few of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import PurePosixPath

import pytest

from stratum_git.core.engine import advance, begin
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.core.rebuild import rebuild
from stratum_git.model.ids import FlowId, Json, Oid, RefName
from stratum_git.model.messages import Answered, Started
from stratum_git.model.state import Program
from tests.core.files import files_of
from tests.support.wide import flat, opening, program, reports


def test_long_outputs_and_many_steps_come_back_from_their_files() -> None:
    steps = [f"{{id: s{n}, intent: x" + (f", depends_on: [s{n - 1}]}}" if n else "}") for n in range(70)]
    rows = "".join(f"      - {step}\n" for step in steps)
    loaded = load_spec(f'version: "0.3"\nflows:\n  main:\n    input: {{}}\n    steps:\n{rows}')
    assert loaded.spec is not None
    program = compile_program(loaded.spec, "main")
    assert isinstance(program, Program)
    main = RefName("refs/heads/main")
    started = Started(0.0, "me", FlowId("f"), "main", {}, Oid("b" * 40), main, "client")
    state, _ = begin(program, started)
    after = files_of(state)
    for number, step in enumerate(program.order):
        result: Json = {"text": "x" * 3000} if number % 3 == 0 else {"n": number, "deep": [{"k": [number]}]}
        before = after
        state, _ = advance(state, Answered(float(number), "me", step, result, "ok"))
        after = files_of(state)
        assert rebuild(program, after) == state
        changed = {name for name, data in after.items() if before.get(name) != data}
        assert len(changed) <= 4, changed
    assert {name for name in after if name.startswith("outputs")} >= {
        "outputs-0000.json",
        "outputs/0000/s0.json",
        "outputs/0002/s69.json",
    }


@pytest.mark.parametrize("count", [1024, 1500])
def test_many_tasks_come_back_from_their_files_and_an_event_changes_one(count: int) -> None:
    base = Oid("a" * 40)
    opened = opening(flat(count), base)[-1]
    before = files_of(opened.after)
    assert all(len(names) <= 34 for names in _listing(before).values())
    for entry in islice(reports(opened, base), 4):
        after = files_of(entry.after)
        changed = {name for name, data in after.items() if before.get(name) != data}
        assert len(changed) <= 2, changed
        before = after
    assert rebuild(program(), before) == entry.after


def _listing(files: Mapping[str, bytes]) -> dict[str, set[str]]:
    folders: dict[str, set[str]] = {}
    for path in map(PurePosixPath, files):
        for name, folder in zip((path, *path.parents), path.parents, strict=False):
            folders.setdefault(str(folder), set()).add(name.name)
    return folders
