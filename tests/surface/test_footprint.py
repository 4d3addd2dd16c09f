"""What the program creates, changes or deletes is what its README lists: every verb is looked at."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import call, client_of
from tests.support.contracts import conforms
from tests.support.shell import Shell

README = Path(__file__).parents[2] / "stratum_git" / "README.md"
WORDS = {"N": r"\d+", "OID": "[0-9a-f]{12}", "BRANCH": ".+"}
GATED = """\
version: "0.4"
functions:
  look: {mode: gate}
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        task_retries: 1
        require: 1
        on_quorum: keep
        land_verify: "true"
      - {id: pass, function: look, depends_on: [build], on_approve: null, on_revise: build, on_kill: null}
"""
AGENT = """\
echo "$STRATUM_TASK" > same.txt
echo i > built.o; echo s > staged; git add staged; echo t > staged
[ "$STRATUM_TASK$STRATUM_ATTEMPT" = one1 ] && git init -q inner && exit 1
exit 0
"""
Facts = tuple[int, int, int] | str


def patterns() -> tuple[list[str], list[str]]:
    """Returns what the tables of the README allow: in the repository, and in the state folder."""
    section = README.read_text().partition("## What is created")[2].partition("\n## ")[0]
    tables = [table for table in section.split("\n\n") if table.startswith("| in ")]
    cells = ["".join(row.split("|")[1] for row in table.splitlines()[2:]) for table in tables]
    here, there = (re.findall("`(.*?)`", cell) for cell in cells)
    return here, there


def fits(name: str, pattern: str) -> bool:
    parts = re.split(r"(\*|\b[A-Z]+\b)", pattern)
    words = {part: WORDS.get(part, "[^/]+") for part in parts if part.isupper()} | {"*": ".*"}
    if pattern.startswith(".git/"):
        # Git's own names are in capitals too.
        words = {"*": ".*"}
    return re.fullmatch("".join(words.get(part, re.escape(part)) for part in parts), name) is not None


def is_listed(name: str, known: list[str]) -> bool:
    """Returns whether *name* is listed, or a folder around what is."""
    depth = name.count("/") + 1
    above = ("/".join(one.split("/")[:depth]) for one in known if one.count("/") >= depth)
    return any(fits(name, one) for one in (*known, *above))


def everything(shell: Shell) -> dict[str, Facts]:
    """Returns every file and ref that there is, and enough of it to see that it changed."""
    rows = shell.repo.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    found: dict[str, Facts] = {name: oid for name, _, oid in (row.partition(" ") for row in rows)}
    found["config"] = (shell.repo.path / ".git/config").read_text()
    for top in (shell.repo.path, shell.home):
        found |= {str(path): fact for path, fact in files(top)}
    return found


def files(top: Path) -> Iterator[tuple[Path, Facts]]:
    for path in top.rglob("*"):
        facts = path.lstat()
        if stat.S_ISDIR(facts.st_mode):
            yield path, "folder"
        else:
            yield path, (facts.st_mode, facts.st_size, facts.st_mtime_ns)


def changed(before: dict[str, Facts], after: dict[str, Facts]) -> set[str]:
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def foreign(shell: Shell, names: set[str], landed: set[str]) -> set[str]:
    """Returns what of *names* the README does not list."""
    here, there = patterns()
    state = f"{shell.home}/state/stratum-git/"
    left = set()
    for name in names:
        if name.startswith("refs/"):
            known = any(fits(name, one) for one in here)
        elif name.startswith(f"{shell.repo.path}/.git/refs/"):
            known = True  # It was looked at as a ref.
        elif name.startswith(f"{shell.repo.path}/"):
            inner = name.removeprefix(f"{shell.repo.path}/")
            known = inner in landed or is_listed(inner, here)
        else:
            inner = name.removeprefix(state).partition("/")[2]
            own = name.startswith(state) or state.startswith(f"{name}/")
            known = own and (not inner or is_listed(inner, there) or state.startswith(f"{name}/"))
        left |= set() if known else {name}
    return left


class Watch:
    """Looks at what each verb does."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.before = everything(shell)
        self.landed: set[str] = set()

    def look(self, what: str, *, nothing: bool = False) -> None:
        after = everything(self.shell)
        names, self.before = changed(self.before, after), after
        # What is undone is gone again.
        self.landed |= set(self.shell.repo.files())
        assert foreign(self.shell, names, self.landed) == set(), what
        if nothing:
            assert names == set(), what

    def run(self, *words: str, code: int = 0, nothing: bool = False) -> str:
        said = self.shell.run(*words)
        assert said.code == code, said
        self.look(" ".join(words), nothing=nothing)
        return said.out


@pytest.fixture
def watch(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A user whose temporary files are looked at as well."""
    (shell.home / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(shell.home / "tmp"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shell.home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(shell.home / "cache"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    shell.repo.commit("ignore", {".gitignore": "*.o\n"})
    shell.spec(GATED)
    shell.tasks({"id": "one"}, {"id": "two"})
    shell.agent(AGENT)
    shell.file("tasks/a.md", "# A\n")
    shell.file("out/keep", "")
    return Watch(shell)


def test_every_verb_leaves_what_is_listed_and_nothing_else(watch: Watch) -> None:
    shell = watch.shell
    spec, tasks = str(shell.home / "spec.yaml"), f"--input=tasks=@{shell.home / 'tasks.json'}"
    agent = f"--agent=default={shell.home / 'agent-default'}"
    watch.run("validate", spec, nothing=True)
    watch.run("doctor")
    watch.run("compile", str(shell.home / "tasks"), nothing=True)
    watch.run("migrate", spec, "--to", "0.4", "--dry-run", nothing=True)
    # As a merge leaves it that was killed.
    left = shell.home / "tmp/stratum-git-merge-0123456789abcdef"
    left.mkdir()
    (left / ".gitattributes").write_text("")
    watch.run("run", spec, tasks, agent, "--quiet", code=1)
    assert not left.exists()
    flow = shell.flow()
    assert shell.repo.git("for-each-ref", f"refs/stratum/attempts/{flow}/build/one/1-rest")
    assert shell.repo.git("for-each-ref", f"refs/stratum/conflicts/{flow}")
    for words in (
        ("query", "flows", "--long"), ("query", "gates"), ("log", flow),
        ("diff", flow, "one"), ("logs", flow, "one"), ("salvage", flow, "one"), ("doctor",),
        ("conflicts", flow), ("gc", "--dry-run", "--older-than", "0s"),
    ):  # fmt: skip
        watch.run(*words, nothing=True)
    # What it told is remembered, once.
    watch.run("query", "flow", flow)
    watch.run("query", "flow", flow, nothing=True)
    watch.run("land", flow, "--dry-run", code=1)
    watch.run("undo", flow, code=2)
    watch.run("gate", "revise", flow, "pass")
    watch.run("resume", flow, agent, "--quiet", code=1)
    assert list((shell.home / "state").rglob("old-1-1"))
    assert list((shell.home / "state").rglob("-landing/1/land_verify-1.log"))
    assert shell.repo.git("for-each-ref", "refs/stratum/verdicts")
    watch.run("gate", "approve", flow, "pass")
    watch.run("salvage", flow, "one", "--attempt", "1", "--branch", "back")
    watch.run("shell", flow, "one", "--", "touch", "mine")
    watch.run("undo", flow, "--dry-run", nothing=True)
    watch.run("undo", flow)
    watch.run("land", flow, code=1)
    watch.run("run", spec, tasks, agent, "--quiet", code=1)
    watch.run("cancel", next(name for name in shell.flows() if name != flow))
    conforms(json.loads(watch.run("gc", "--older-than", "0s", "--json")), "gc-result.v1")
    watch.run("gc", "--older-than", "0s", "--flows")
    assert not shell.flows()


async def test_a_server_leaves_what_is_listed_and_nothing_else(watch: Watch) -> None:
    shell = watch.shell
    async with client_of(shell) as client:
        inputs = {"tasks": [{"id": "one"}, {"id": "two"}]}
        first = await call(client, "stratum_plan", spec=GATED, flow="main", inputs=inputs)
        watch.look("stratum_plan")
        for task in first["batch"]:
            (Path(task["path"]) / f"{task['task_id']}.txt").write_text("x\n")
        watch.look("work in slots")
        done = [{"task_id": task["task_id"], "status": "complete"} for task in first["batch"]]
        words = {
            "flow_id": first["flow_id"],
            "step_id": "build",
            "task_results": done,
            "merge_status": "clean",
        }
        await call(client, "stratum_parallel_done", **words)
        watch.look("stratum_parallel_done")
    watch.look("the end of a server")


def test_a_session_leaves_what_is_listed_and_nothing_else(watch: Watch) -> None:
    shell = watch.shell
    agent = "--agent=a=sh -c 'echo $STRATUM_ATTEMPT > new.txt; echo c > built.o; echo done'"
    said = watch.run("session", "run", "do it", agent)
    assert said.strip().endswith("done")
    name = shell.flow()
    watch.run("session", "verify", name, "--command", "touch left; test -f new.txt", "--agent", "nobody")
    for words in (("query", "sessions"), ("query", "session", name), ("query", "flow", name, "--long")):
        watch.run(*words, nothing=True)
    conforms(json.loads(watch.run("gc", "--older-than", "0s", "--json")), "gc-result.v1")
    watch.run("session", "continue", name, "in another slot", agent)
    watch.run("session", "close", name)
    branch = f"refs/heads/stratum/{name}/session"
    watch.run("gc", "--older-than", "0s", "--flows")
    assert shell.repo.git("log", "--format=%s", "-3", branch).splitlines()[0] == "in another slot"
    assert not shell.flows()
    shell.repo.git("merge", "-q", branch)


def test_the_tables_are_read() -> None:
    here, there = patterns()
    assert len(here) > 12
    assert len(there) > 8
    for name in ("refs/tags/v1", ".git/config", ".git/hooks/x", ".git/worktrees/mine", "refs/stratum/x"):
        assert not is_listed(name, here), name
    for name in ("other", "attempts/f/s/t/x", "locks/x"):
        assert not is_listed(name, there), name
