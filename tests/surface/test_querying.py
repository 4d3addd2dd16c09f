"""What ``query`` tells, in the protocol's words, also when something in the repository is damaged."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stratum_git.model.ids import Json
from tests.support.contracts import conforms
from tests.support.shell import PROGRAM, SPEC, Shell

GATED = """\
version: "0.4"
functions:
  review: {mode: gate}
flows:
  main:
    steps:
      - {id: write, agent: default, intent: Write it}
      - {id: ask, function: review, depends_on: [write], on_approve: end, on_revise: write, on_kill: null}
      - {id: end, agent: default, intent: End it, depends_on: [ask]}
"""


def waiting(shell: Shell, *, number: int = 1) -> str:
    """Runs a flow up to its gate; returns its id."""
    before = set(shell.flows())
    words = ("run", shell.spec(GATED), shell.agent(f'echo {number} > "$STRATUM_STEP.txt"'), "--quiet")
    assert shell.run(*words).code == 1
    (flow,) = {*shell.flows()} - before
    return flow


def test_a_flow_at_a_gate_in_the_words_of_the_protocol(shell: Shell) -> None:
    flow = waiting(shell)
    brief: dict[str, Json] = {
        "_schema_version": "1",
        "flow_id": flow,
        "flow_name": "main",
        "status": "awaiting_gate",
        "current_step_id": "ask",
        "round": 0,
        "step_count": 3,
        "completed_steps": 1,
        "terminal_status": None,
    }
    assert shell.run("query", "flows").json() == [brief]
    gate: dict[str, Json] = {"on_approve": "end", "on_revise": "write", "on_kill": None, "timeout": None}
    named: dict[str, Json] = {"_schema_version": "1", "flow_id": flow, "flow_name": "main", "step_id": "ask"}
    assert shell.run("query", "gates").json() == [{**named, "function": "review", **gate}]
    whole = shell.run("query", "flow", flow).json()
    assert isinstance(whole, dict)
    record = whole["records"][0]  # type: ignore[index]
    assert isinstance(record, dict)
    assert whole == {
        **{key: item for key, item in brief.items() if key != "completed_steps"},
        "current_idx": 1,
        "rounds_count": 0,
        "step_outputs": {"write": None},
        "records": [
            {
                "type": "step",
                "step_id": "write",
                "function_name": "",
                "attempts": 1,
                "duration_ms": record["duration_ms"],
                "round": 0,
                "round_start_step_id": None,
                "agent": "default",
                "step_mode": "inline",
                "child_flow_id": None,
            }
        ],
        "rounds": [],
        "ordered_steps": [
            {"id": "write", "function": "", "mode": "step"},
            {"id": "ask", "function": "review", "mode": "gate"},
            {"id": "end", "function": "", "mode": "step"},
        ],
    }


def test_a_flow_that_is_not_there_is_not_found(shell: Shell) -> None:
    for flow in ("none", "", "../heads/main", "*", "-"):
        said = shell.run("query", "flow", flow)
        message = f"there is no flow called {flow}"
        assert said.json() == {"error": {"code": "NOT_FOUND", "message": message}}
        assert (said.code, said.err) == (1, "")


def test_a_damaged_flow_hides_no_other(shell: Shell) -> None:
    good, torn, empty, other = (waiting(shell, number=n) for n in range(4))
    refs = shell.repo.path / ".git/refs/stratum/flows"
    (refs / "gone").write_text("12345678" * 5 + "\n")
    (refs / "broken").write_text("nonsense\n")
    damage(shell, f"refs/stratum/flows/{torn}:state.json", keep=100)
    damage(shell, f"refs/stratum/flows/{empty}:state.json", keep=0)
    shell.repo.git("update-ref", "refs/stratum/flows/foreign", "HEAD")
    shell.repo.commit("no flow", {"state.json": '{"name": "x", "book": {}, "started": "today"}'})
    shell.repo.git("update-ref", "refs/stratum/flows/odd", "HEAD")
    for words, contract in ((("flows",), "query-flows.v1"), (("gates",), "query-gates.v1")):
        said = shell.run("query", *words)
        assert said.code == 0
        conforms(said.json(), contract)
        rows = said.json()
        assert isinstance(rows, list)
        assert [row["flow_id"] for row in rows if isinstance(row, dict)] == [good, other]
        for name in ("gone", "broken", "foreign", "odd", torn, empty):
            assert name in said.err
    conforms(shell.run("query", "flows", "--long").json(), "query-flows-long.v1")
    # What was told of this commit before holds, whatever became of its files; here nobody remembers it.
    (shell.repo.path / ".git/stratum/told").unlink()
    damaged = shell.run("query", "flow", torn)
    assert damaged.code in {2, 3}
    conforms(damaged.json(), "error.v1")


def loosen(shell: Shell) -> None:
    """Gives objects that lie in packs files of their own."""
    folder = shell.repo.path / ".git/objects/pack"
    for pack in folder.glob("*.pack"):
        aside = pack.rename(shell.repo.path.parent / pack.name)
        for path in folder.glob(f"{pack.stem}.*"):
            path.unlink()
        with aside.open("rb") as file:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=shell.repo.path, stdin=file, check=True)


def damage(shell: Shell, name: str, *, keep: int) -> None:
    """Leaves the beginning of an object; of a large one, of which git finds out late."""
    oid = shell.repo.git("rev-parse", name)
    loosen(shell)
    path: Path = shell.repo.path / ".git/objects" / oid[:2] / oid[2:]
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[:keep])


def test_an_object_that_ends_in_the_middle_of_an_answer_hides_no_other(shell: Shell) -> None:
    good = waiting(shell)
    large = " ".join(str(number * 7919) for number in range(100_000))
    shell.repo.commit("large", {"state.json": large})
    shell.repo.git("update-ref", "refs/stratum/flows/large", "HEAD")
    damage(shell, "HEAD:state.json", keep=100_000)
    said = shell.run("query", "flows")
    assert said.code == 0
    assert good in said.out
    assert "the flow large cannot be read" in said.err


def test_lists_load_neither_the_engine_nor_the_language(shell: Shell) -> None:
    shell.run("run", shell.spec(SPEC), shell.tasks({"id": "x"}), shell.agent("true"))
    script = (
        "import sys\nfrom stratum_git.cli.main import main\n"
        "main(['query', 'flows'])\nmain(['query', 'gates'])\nprint(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [PROGRAM[0], "-c", script],
        cwd=shell.repo.path,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {*done.stderr.split()}
    ours = {name for name in loaded if name.startswith(("stratum_git.core.", "stratum_git.dispatch"))}
    assert ours == {"stratum_git.core.wording"}
    assert not loaded & {"yaml", "trio", "jsonschema"}
