"""The verbs that write specs: compile, and that what it writes runs as its files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stratum_git.core.parse import load_spec
from tests.support.shell import Shell

CRITERIA = "## Acceptance Criteria\n- [ ] "
TASKS = {
    "01-setup": f"# Task: Set up\nMake the skeleton.\n{CRITERIA}file base.txt exists\n",
    "02-api": f"# The API [P]\n{CRITERIA}file t02_api.txt contains 'by t02_api'\n- [ ] all tests pass\n",
    "03-docs": f"# The docs [P]\n{CRITERIA}file t03_docs.txt exists\n- [ ] they read well\n",
    "04-end": f"# The end\n{CRITERIA}file end.txt exists\n",
}
TOGETHER = """\
case "$STRATUM_STEP" in
t01_setup) echo base > base.txt ;;
t04_end) ls > end.txt ;;
*)
    [ -e base.txt ] || exit 1
    touch "$HOME/at-$STRATUM_TASK"
    until [ -e "$HOME/at-t02_api" ] && [ -e "$HOME/at-t03_docs" ]; do
        sleep 0.01
    done
    [ "$STRATUM_TASK$STRATUM_ATTEMPT" = t03_docs1 ] || echo "by $STRATUM_TASK" > "$STRATUM_TASK.txt"
    cat > "$HOME/prompt-$STRATUM_TASK-$STRATUM_ATTEMPT"
    echo '{"tests_pass": true}' ;;
esac
"""
"""Each of two tasks waits for the other; one forgets its file at first."""


def folder(shell: Shell, tasks: dict[str, str]) -> str:
    for name, text in tasks.items():
        shell.file(f"tasks/{name}.md", text)
    return str(shell.home / "tasks")


def test_marked_tasks_run_beside_each_other_and_are_held_to_their_criteria(shell: Shell) -> None:
    spec = str(shell.home / "out.stratum.yaml")
    made = shell.run("compile", folder(shell, TASKS), "--parallel", "--flow", "work", "--output", spec)
    assert (made.code, made.out, made.err) == (0, f"Written to {spec}\n", "")
    assert shell.run("validate", spec).code == 0
    ran = shell.run("run", spec, shell.agent(TOGETHER))
    assert ran.code == 0, ran.err
    # What lay in the repository before, and what every task found there.
    assert {"base.txt", "t02_api.txt", "t03_docs.txt"} <= {*(shell.repo.path / "end.txt").read_text().split()}
    answer = shell.run("query", "flow", shell.flow()).json()
    steps = json.loads(json.dumps(answer))["steps"]
    assert [step["id"] for step in steps] == ["t01_setup", "parallel_1", "t04_end"]
    story = shell.run("log", shell.flow()).out
    assert "parallel_1/t03_docs#1: rejected (ensure)" in story
    assert "parallel_1/t03_docs#2: complete" in story
    again = (shell.home / "prompt-t03_docs-2").read_text()
    assert 'ensure failed: task.id != "t03_docs" or file_exists("t03_docs.txt")' in again
    assert "- they read well" in again


def test_what_the_original_ran_runs_too(shell: Shell) -> None:
    made = shell.run("compile", folder(shell, TASKS))
    assert made.out.startswith("version: '0.1'\n")
    agent = shell.agent(
        'touch base.txt end.txt; echo "by $STRATUM_STEP" > "$STRATUM_STEP.txt"\n'
        """echo '{"done": true, "tests_pass": true}'"""
    )
    ran = shell.run("run", shell.spec(made.out), "--input", "project_context=none", agent)
    assert ran.code == 0, ran.err


def test_a_hostile_checkbox_only_fails(shell: Shell) -> None:
    trap = f"{shell.home}/trapped"
    lines = [
        f"file x\")or(__import__('os').system('touch${{IFS}}{trap}'))or(\"y exists",
        f"file $(touch${{IFS}}{trap}) exists",
        f"file a contains '`touch {trap}`'",
    ]
    task = "# T [P]\n## Acceptance Criteria\n" + "".join(f"- [ ] {line}\n" for line in lines)
    for words in ((), ("--parallel",)):
        made = shell.run("compile", folder(shell, {"a": task, "b": task}), *words)
        assert made.code == 0
        context = "--input=project_context=none"
        ran = shell.run("run", shell.spec(made.out), context, shell.agent("""echo '{"done": true}'"""))
        assert ran.code == 1
    assert not Path(trap).exists()


@pytest.mark.parametrize(
    ("tasks", "words", "said"),
    [
        (None, (), "is not a directory"),
        ({}, (), "No task files"),
        ({"a-b": "", "a_b": ""}, (), "step id 'a_b'"),
        ({"a": "# A"}, ("--flow", "my flow"), "cannot be a part of a ref's name"),
        ({"x" * 70: "# A", "b": "# B"}, ("--parallel",), "is too long for the id of a task"),
        ({"a": "# A\n\0"}, ("--parallel",), "a text has a NUL in it"),
    ],
)
def test_what_makes_no_spec_is_refused(
    shell: Shell, tasks: dict[str, str] | None, words: tuple[str, ...], said: str
) -> None:
    place = shell.home / "tasks"
    if tasks is not None:
        place.mkdir()
        folder(shell, tasks)
    out = shell.file("out.yaml", "kept")
    done = shell.run("compile", str(place), *words, "--output", str(out))
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert done.err.startswith("error: ")
    assert out.read_text() == "kept"


def test_what_is_written_is_whole_and_stays_what_it_was(shell: Shell) -> None:
    real = shell.file("kept/real.yaml", "old")
    real.chmod(0o640)
    link = shell.home / "link.yaml"
    link.symlink_to(real)
    tasks = folder(shell, TASKS)
    assert shell.run("compile", tasks, "--output", str(link)).code == 0
    assert link.is_symlink()
    assert load_spec(real.read_text()).problems == ()
    assert real.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in real.parent.iterdir()] == ["real.yaml"]
    assert shell.run("compile", tasks, "--output", "/dev/null").code == 0
    assert not Path("/dev/null").is_file()
    for place in (shell.home, shell.home / "none/x.yaml", real / "x.yaml"):
        refused = shell.run("compile", tasks, "--output", str(place))
        assert refused.code == 3
        assert "cannot be written" in refused.err
