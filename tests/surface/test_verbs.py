"""The verbs, as a user and his scripts meet them: from the first run to the last look."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from stratum_git.cli.main import VERBS
from stratum_git.model.ids import Json
from tests.support.contracts import conforms
from tests.support.shell import PROGRAM, SPEC, Shell, interrupt, wait_for

OWN_FILE = 'echo "by $STRATUM_TASK"; echo "$STRATUM_ATTEMPT" > "$STRATUM_TASK.txt"'

GATED = """\
version: "0.4"
functions:
  review: {mode: gate}
flows:
  main:
    steps:
      - {id: write, agent: default, intent: Write it}
      - {id: ask, function: review, depends_on: [write], on_approve: null, on_revise: write, on_kill: null}
"""


def begin(shell: Shell, *tasks: str, spec: str = SPEC) -> subprocess.Popen[str]:
    """Starts a run whose agents have done half of their work and take their time now."""
    slow = shell.agent('echo half > "$STRATUM_TASK.txt"; touch "$HOME/at-$STRATUM_TASK"; sleep 60')
    rows: list[Json] = [{"id": task} for task in tasks]
    process = shell.start("run", shell.spec(spec), shell.tasks(*rows), slow)
    for task in tasks:
        wait_for(shell.home / f"at-{task}")
    return process


def test_a_run_tells_its_events_and_its_end(shell: Shell) -> None:
    said = shell.run("run", shell.spec(), shell.tasks({"id": "x"}, {"id": "y"}), shell.agent(OWN_FILE))
    flow = shell.flow()
    assert said.code == 0
    assert said.out == f"The flow {flow} is complete. `stratum-git log {flow}` tells its story.\n"
    assert "Launches build/x#1, build/y#1." in said.err
    assert "build: land 2 on main" in said.err
    assert "\x1b" not in said.err
    assert (shell.repo.path / "x.txt").read_text() == "1\n"
    assert shell.repo.git("status", "--porcelain") == ""


def test_its_answer_in_json_keeps_the_contract(shell: Shell) -> None:
    words = (shell.spec(), shell.tasks({"id": "x"}), "--json", "--quiet")
    good = shell.run("run", *words, shell.agent(OWN_FILE))
    assert (good.code, good.err) == (0, "")
    conforms(good.json(), "run-result.v1")
    bad = shell.run("run", *words, shell.agent("exit 3"))
    assert bad.code == 1
    conforms(bad.json(), "run-result.v1")


def test_flows_are_listed_and_shown(shell: Shell) -> None:
    assert shell.run("query", "flows").json() == []
    shell.run("run", shell.spec(), shell.tasks({"id": "x"}, {"id": "y"}), shell.agent(OWN_FILE))
    listed = shell.run("query", "flows").json()
    shown = shell.run("query", "flow", shell.flow(), "--long").json()
    assert isinstance(shown, dict)
    assert isinstance(listed, list)
    assert [shown["flow_id"], shown["status"]] == [shell.flow(), "complete"]
    tasks = json.loads(json.dumps(shown))["steps"][0]["tasks"]
    assert [(task["task_id"], task["state"]) for task in tasks] == [("x", "merged"), ("y", "merged")]


def test_log_diff_and_logs_show_what_happened(shell: Shell) -> None:
    agent = shell.agent(f'{OWN_FILE}\n[ "$STRATUM_TASK$STRATUM_ATTEMPT" != x1 ]')
    spec = shell.spec(SPEC + "        task_retries: 1\n")
    assert shell.run("run", spec, shell.tasks({"id": "x"}, {"id": "y"}), agent).code == 0
    flow = shell.flow()
    story = shell.run("log", flow).out
    for part in (
        "build/x#1: rejected (agent)",
        "build/x#2: complete",
        "build: land 2 on main",
        "agent default",
    ):
        assert part in story
    events = shell.run("log", flow, "--json", "-n", "2").json()
    assert isinstance(events, list)
    assert len(events) == 2
    assert "+2" in shell.run("diff", flow, "x").out
    assert "+1" in shell.run("diff", flow, "x", "--attempt", "1").out
    assert shell.run("logs", flow, "x").out == "by x\n"
    assert shell.run("logs", flow, "x", "--attempt", "9").code == 2
    assert shell.run("diff", flow, "nobody").code == 2


def test_validate_names_every_problem_with_its_line(shell: Shell) -> None:
    good, bad = (
        shell.spec(),
        str(shell.file("bad.yaml", "version: 0.3\nflows:\n  a:\n    steps:\n      - {id: 1}\n")),
    )
    assert shell.run("validate", good).out == f"{good}: valid\n"
    said = shell.run("validate", good, bad)
    assert said.code == 1
    assert f"{bad}:5:" in said.out
    rows = shell.run("validate", good, bad, "--json").json()
    assert isinstance(rows, list)
    assert [row["valid"] for row in rows if isinstance(row, dict)] == [True, False]
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    began = time.monotonic()
    assert shell.run("validate", str(shell.file("bomb.yaml", bomb))).code == 1
    assert time.monotonic() - began < 3


def test_a_gate_waits_and_is_decided(shell: Shell) -> None:
    spec, agent = shell.spec(GATED), shell.agent("echo done >> done.txt")
    waiting = shell.run("run", spec, agent)
    assert waiting.code == 1
    flow = shell.flow()
    assert f"stratum-git gate approve {flow} ask" in waiting.out
    assert shell.run("gate", "revise", flow, "ask", "--note", "once more").code == 0
    assert shell.run("resume", flow, agent).code == 1
    assert (shell.repo.path / "done.txt").read_text() == "done\ndone\n"
    assert shell.run("gate", "approve", flow, "ask").code == 0
    assert shell.run("gate", "approve", flow, "ask").code == 2
    assert shell.run("query", "gates").json() == []
    assert "once more" in shell.run("log", flow).out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_keeps_its_work_and_goes_on(shell: Shell, number: signal.Signals) -> None:
    process = begin(shell, "x")
    code, out, err = interrupt(process, number)
    flow = shell.flow()
    assert (code, out) == (130, f"The flow {flow} is interrupted. `stratum-git resume {flow}` goes on.\n")
    assert "stopping" in err
    assert shell.repo.show(f"refs/stratum/attempts/{flow}/build/x/1:x.txt") == "half"
    assert shell.run("resume", flow, shell.agent(OWN_FILE)).code == 0
    assert (shell.repo.path / "x.txt").read_text() == "2\n"


def test_a_run_that_was_killed_goes_on_and_its_work_is_kept(shell: Shell) -> None:
    process = begin(shell, "x", "y")
    code, _, _ = interrupt(process, signal.SIGKILL)
    assert code == -signal.SIGKILL
    flow = shell.flow()
    assert shell.run("resume", flow, shell.agent(OWN_FILE)).code == 0
    assert shell.repo.show(f"refs/stratum/attempts/{flow}/build/x/1:x.txt") == "half"
    assert shell.repo.git("fsck", "--no-dangling", "--no-progress") == ""
    assert shell.repo.git("for-each-ref", "refs/stratum/leases") == ""
    assert [(shell.repo.path / f"{task}.txt").read_text() for task in "xy"] == ["2\n", "2\n"]


def test_a_task_and_a_flow_are_cancelled_from_elsewhere(shell: Shell) -> None:
    process = begin(shell, "x", "y", spec=SPEC + "        require: any\n")
    flow = shell.flow()
    assert shell.run("resume", flow, shell.agent("true")).code == 2
    assert shell.run("cancel", flow, "x", "--why", "not needed").code == 0
    assert shell.run("cancel", flow, "nobody").code == 2
    assert shell.run("cancel", flow).code == 0
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "cancelled" in out
    story = shell.run("log", flow).out
    assert "not needed" in story
    assert shell.run("cancel", flow).code == 2
    assert (shell.repo.path / "x.txt").exists() is False


def test_a_flow_that_nobody_runs_is_cancelled_at_once(shell: Shell) -> None:
    process = begin(shell, "x")
    interrupt(process, signal.SIGKILL)
    assert shell.run("cancel", shell.flow()).code == 0
    assert "cancelled" in shell.run("query", "flow", shell.flow()).out
    assert shell.repo.show(f"refs/stratum/attempts/{shell.flow()}/build/x/1:x.txt") == "half"


def test_on_a_terminal_it_shows_what_is_at_work(shell: Shell) -> None:
    agent = shell.agent('echo reading the code; sleep 1; echo x > "$STRATUM_TASK.txt"')
    shown = on_a_terminal(shell, "run", shell.spec(), shell.tasks({"id": "x"}, {"id": "y"}), agent)
    assert "reading the code" in shown
    assert "2 running" in shown
    assert re.search(r"build/x#1 +\d s", shown)
    assert "is complete" in shown


def on_a_terminal(shell: Shell, *words: str) -> str:
    """Returns everything that the program writes to a terminal, without colours."""
    ours, theirs = pty.openpty()
    environment = {**shell.environment, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [*PROGRAM, *words], cwd=shell.repo.path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        shown += data
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(shell: Shell, verb: str) -> None:
    said = shell.run(verb, "--help")
    assert said.code == 0
    assert f"Example: stratum-git {verb}" in " ".join(said.out.split())


def test_without_a_verb_it_says_which_there_are(shell: Shell) -> None:
    assert all(verb in shell.run().out for verb in VERBS)
    assert shell.run("--version").out.startswith("stratum-git ")
    assert shell.run("no-such-verb").code == 2


def test_a_mistake_of_ours_is_no_answer(shell: Shell) -> None:
    script = (
        "import sys\nfrom stratum_git.app import checking\nfrom stratum_git.cli.main import main\n"
        "checking.validate = lambda files: 1 / 0\nsys.exit(main(['validate', 'x', *sys.argv[1:]]))"
    )
    done = subprocess.run([PROGRAM[0], "-c", script, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "ZeroDivisionError" in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "BugError"


HEAVY = ("trio", "mcp", "jsonschema", "git", "rich", "filelock")


@pytest.mark.parametrize(
    ("verb", "allowed"),
    [
        ("validate", set()), ("compile", set()), ("migrate", set()), ("query", set()), ("log", {"git"}),
        ("diff", set()), ("logs", set()),
    ],
)  # fmt: skip
def test_verbs_that_only_look_load_little(shell: Shell, verb: str, allowed: set[str]) -> None:
    words = {
        "validate": [shell.spec()],
        "compile": [str(shell.file("tasks/a.md", "# A").parent)],
        "migrate": [shell.spec()],
        "query": ["flows"],
        "log": ["none"],
    }.get(verb, ["none", "x"])
    script = (
        "import sys\nfrom stratum_git.cli.main import main\n"
        f"main({[verb, *words]!r})\nprint(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [PROGRAM[0], "-c", script],
        cwd=shell.repo.path,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded & set(HEAVY) <= allowed | ({"jsonschema"} if verb == "validate" else set())


def test_a_reader_who_has_seen_enough_is_no_failure(shell: Shell) -> None:
    shell.run("run", shell.spec(), shell.tasks({"id": "x"}), shell.agent(OWN_FILE))
    command = f"{' '.join(PROGRAM)} log {shell.flow()} | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=shell.repo.path, env=shell.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode in {0, 141}


def test_where_slots_lie_is_a_setting(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "fast").mkdir()
    shell.repo.write(".stratum/config.yaml", f"slots: {{root: {tmp_path / 'fast'}, keep: 1, rung: warm}}\n")
    tasks = shell.tasks({"id": "x"}, {"id": "y"})
    assert (
        shell.run("run", shell.spec(), tasks, shell.agent(f'pwd > "$HOME/$STRATUM_TASK"\n{OWN_FILE}')).code
        == 0
    )
    place = Path((shell.home / "x").read_text().strip())
    assert place.is_relative_to(tmp_path / "fast")
    assert len(list(place.parent.glob("slot-*[0-9a-f]"))) == 1
