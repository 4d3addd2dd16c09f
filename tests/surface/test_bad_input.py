"""What is asked wrongly: a clear word, the right exit code, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stratum_git.model.ids import Json
from tests.support.repos import ScratchRepo
from tests.support.shell import SPEC, Shell, interrupt, wait_for


def refused(shell: Shell, *words: str, cwd: Path | None = None) -> tuple[str, str]:
    """The message and the hint of a run that is refused before it begins."""
    said = shell.run("run", *words, "--json", cwd=cwd)
    assert said.code == 2, (said.out, said.err)
    error = said.error()
    assert error["message"]
    return str(error["message"]), str(error["hint"])


def asked(shell: Shell) -> tuple[str, ...]:
    return (shell.spec(), shell.tasks({"id": "a"}), shell.agent("true"))


def test_outside_of_a_repository(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    message, hint = refused(shell, *asked(shell), cwd=tmp_path / "elsewhere")
    assert message == f"{tmp_path / 'elsewhere'} is not in a git repository"
    assert "git init" in hint


def test_in_a_bare_repository(shell: Shell, tmp_path: Path) -> None:
    bare = ScratchRepo.make(tmp_path / "bare", "--bare")
    message, hint = refused(shell, *asked(shell), cwd=bare.path)
    assert "is a bare repository" in message
    assert "clone" in hint


def test_before_the_first_commit(shell: Shell, tmp_path: Path) -> None:
    unborn = ScratchRepo.make(tmp_path / "unborn")
    message, hint = refused(shell, *asked(shell), cwd=unborn.path)
    assert "has no commit yet" in message
    assert "first commit" in hint


def test_on_a_detached_head_a_target_has_to_be_named(shell: Shell) -> None:
    shell.repo.git("checkout", "-q", "--detach")
    message, hint = refused(shell, *asked(shell))
    assert "HEAD is detached" in message
    assert "--target" in hint
    assert shell.run("run", *asked(shell), "--target", "main").code == 0


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "the task graph is empty"),
        ({"tasks": []}, "the source is an object, not a list of tasks"),
        ("text", "the source is a text, not a list of tasks"),
        ([{"id": "a/b"}], 'tasks.0.id: the id "a/b" has a slash in it'),
        ([{"id": ".."}], 'tasks.0.id: the id ".." begins with a dot'),
        ([{"id": "a..b"}], 'tasks.0.id: the id "a..b" has two dots in a row'),
        ([{"id": "a b"}], 'tasks.0.id: the id "a b" has a space in it'),
        ([{"id": "ä"}], 'tasks.0.id: the id "ä" has a character that is not ASCII in it'),
        ([{"id": "-a"}], 'tasks.0.id: the id "-a" begins with a dash'),
        ([{"id": "a.lock"}], 'tasks.0.id: the id "a.lock" ends in .lock'),
        ([{"id": "a"}, {"id": "a"}], 'tasks.1.id: the id "a" is used twice'),
        ([{"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]}], "in a circle: a -> b -> a"),
        ([{"id": "api", "depends_on": ["apii"]}], '"api" depends on "apii", which is no task'),
        ([{"id": "a", "files_owned": ["../x"]}], 'tasks.0.files_owned: "../x" cannot be owned'),
    ],
)  # fmt: skip
def test_a_task_graph_that_cannot_be_run(shell: Shell, tasks: Json, message: str) -> None:
    given = f"--input=tasks=@{shell.file('tasks.json', json.dumps(tasks))}"
    before = shell.traces()
    said, _ = refused(shell, shell.spec(), given, shell.agent("true"))
    assert message in said
    assert shell.traces() == before


def test_every_problem_of_a_graph_is_listed(shell: Shell) -> None:
    given = shell.tasks({"id": "a/b"}, {"id": "c", "depends_on": ["d"]}, {"id": "-"})
    said = shell.run("run", shell.spec(), given, shell.agent("true"))
    assert said.code == 2
    for part in ("tasks.0.id", "tasks.1.depends_on", "tasks.2.id", "and 2 more"):
        assert part in said.err


def test_a_template_that_names_a_missing_field(shell: Shell) -> None:
    spec = shell.spec(SPEC.replace("{task.id}", "{task.title}"))
    before = shell.traces()
    message, _ = refused(shell, spec, shell.tasks({"id": "a", "about": "x"}), shell.agent("true"))
    assert "the intent of a names task.title, which is not there (there is: task.id, task.about)" in message
    assert shell.traces() == before


def test_an_agent_that_is_not_configured(shell: Shell) -> None:
    before = shell.traces()
    message, hint = refused(shell, shell.spec(), shell.tasks({"id": "a"}))
    assert "wants the agent default, which is not configured" in message
    assert "--agent default=COMMAND" in hint
    message, _ = refused(shell, shell.spec(), shell.tasks({"id": "a", "agent": "b"}), shell.agent("true"))
    assert "wants the agent b" in message
    assert shell.traces() == before


def test_an_agent_whose_program_does_not_exist(shell: Shell) -> None:
    before = shell.traces()
    message, hint = refused(
        shell, shell.spec(), shell.tasks({"id": "a"}), "--agent", "default=no-such-program -x"
    )
    assert message == "the agent default wants to run no-such-program, and there is no such program"
    assert hint
    assert shell.traces() == before


def test_an_agent_that_cannot_start_fails_its_task_and_says_why(shell: Shell) -> None:
    broken = shell.file("broken", "#!/no/such/interpreter\n")
    broken.chmod(0o755)
    said = shell.run("run", shell.spec(), shell.tasks({"id": "a"}), "--agent", f"default={broken}")
    assert said.code == 1
    assert (
        f"a: start: {broken}: No such file or directory (it begins with #!/no/such/interpreter)" in said.out
    )
    assert shell.run("resume", shell.flow()).code == 2


def test_a_dirty_checkout_keeps_its_files_and_is_refused_only_where_it_is_in_the_way(shell: Shell) -> None:
    shell.repo.write("b.txt", "mine\n")
    shell.repo.write("untracked.txt", "mine too\n")
    agent = shell.agent('echo theirs > "$STRATUM_TASK.txt"')
    assert shell.run("run", shell.spec(), shell.tasks({"id": "new"}), agent).code == 0
    assert (shell.repo.path / "new.txt").read_text() == "theirs\n"
    said = shell.run("run", shell.spec(), shell.tasks({"id": "b"}), agent)
    assert said.code == 1
    assert "blocked" in said.out
    assert "b.txt" in said.out
    assert (shell.repo.path / "b.txt").read_text() == "mine\n"
    assert (shell.repo.path / "untracked.txt").read_text() == "mine too\n"
    shell.repo.git("checkout", "b.txt")
    blocked = next(f for f in shell.flows() if '"status": "blocked"' in shell.run("query", "flow", f).out)
    assert shell.run("resume", blocked, agent).code == 0
    assert (shell.repo.path / "b.txt").read_text() == "theirs\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "nowhere.yaml"), "there is no file nowhere.yaml"),
        (("run", "SPEC", "--flow", "other"), "other"),
        (("run", "SPEC"), "the flow needs the input tasks"),
        (("run", "SPEC", "--input", "tasks"), "--input tasks is not K=V"),
        (("run", "SPEC", "--input", "x=1", "TASKS"), "the flow has no input x"),
        (("run", "SPEC", "TASKS", "--agent", "default"), "--agent default is not NAME=COMMAND"),
        (("run", "SPEC", "TASKS", "AGENT", "--target", "a..b"), "a..b"),
        (("run", "SPEC", "--input", "tasks=@nowhere.json"), "nowhere.json"),
        (("resume", "no-such-flow"), "there is no flow called no-such-flow"),
        (("cancel", "no-such-flow"), "there is no flow called no-such-flow"),
        (("log", "no-such-flow"), "there is no flow called no-such-flow"),
        (("diff", "no-such-flow", "a"), "there is no flow called no-such-flow"),
        (("logs", "no-such-flow", "a"), "there is no flow called no-such-flow"),
        (("run", "FORBIDDEN", "TASKS", "AGENT"), "there is no step called none"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_told(shell: Shell, words: tuple[str, ...], message: str) -> None:
    stands = {
        "SPEC": shell.spec(),
        "TASKS": shell.tasks({"id": "a"}),
        "AGENT": shell.agent("true"),
        "FORBIDDEN": str(shell.file("forbidden.yaml", SPEC.replace("$.input.tasks", "$.steps.none.output"))),
    }
    before = shell.traces()
    said = shell.run(*(stands.get(word, word) for word in words))
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert message in said.err
    assert shell.traces() == before


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("agents: [x]", "agents is not a map"),
        ("agents: {a: {}}", "agents.a.command is not a list of words"),
        ("agents: {a: {command: [x], colour: red}}", "agents.a has no colour"),
        ("agents: {a: {command: [x], timeout: -1}}", "agents.a.timeout is not a number of seconds"),
        ("slots: {keep: many}", "slots.keep is not a number of slots"),
        ("slots: {root: .}", "slots.root is ., which is not an absolute path"),
        ("colour: red", "the file has no colour"),
        ("a: &a [1]\nb: *a", "the file has no a"),
        ("a: [", "is not YAML"),
    ],
)
def test_settings_that_are_not_what_they_should_be(shell: Shell, config: str, message: str) -> None:
    shell.repo.write(".stratum/config.yaml", config)
    said, _ = refused(shell, *asked(shell))
    assert message in said


def test_two_thousand_tasks_are_taken(shell: Shell) -> None:
    # Only whether they are accepted and begun: running them all is the benchmark's business.
    tasks: list[Json] = [{"id": f"t{n}", "depends_on": [f"t{n - 1}"] if n % 2 else []} for n in range(2000)]
    stop = 'touch "$HOME/begun"; sleep 60'
    process = shell.start("run", shell.spec(), shell.tasks(*tasks), shell.agent(stop))
    wait_for(shell.home / "begun")
    code, out, _ = interrupt(process)
    assert code == 130
    assert "stratum-git resume" in out
    answer = shell.run("query", "flow", shell.flow(), "--long").json()
    assert isinstance(answer, dict)
    assert len(answer["steps"][0]["tasks"]) == 2000  # type: ignore[index,arg-type,call-overload]
