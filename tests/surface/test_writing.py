"""The verbs that write specs: compile, whose specs run as their files say, and migrate."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from stratum_git.core.parse import load_spec
from tests.support.shell import PROGRAM, Said, Shell

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
    steps = json.loads(json.dumps(answer))["ordered_steps"]
    assert [step["id"] for step in steps] == ["t01_setup", "parallel_1", "t04_end"]
    story = shell.run("log", shell.flow()).out
    assert "parallel_1/t03_docs#1: rejected (ensure)" in story
    assert "parallel_1/t03_docs#2: complete" in story
    again = (shell.home / "prompt-t03_docs-2").read_text()
    assert 'ensure \'task.id != "t03_docs" or file_exists("t03_docs.txt")\' failed' in again
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


OLD = """\
# Ours \u2014 do not reorder.\r
flows:\r
  main:   # the only one\r
    steps:\r
      - {id: x, intent: "version: '0.2'"}\r
\r
version: '0.2'   # since 0.1"""
NEW = OLD.replace("version: '0.2'   #", "version: '0.4'   #")


def old(shell: Shell, text: str = OLD) -> Path:
    path = shell.repo.path / "old.stratum.yaml"
    path.write_bytes(text.encode())
    return path


def test_a_spec_is_rewritten_in_place_and_back(shell: Shell) -> None:
    path = old(shell)
    path.chmod(0o664)
    said = shell.run("migrate", path.name)
    changed = "line 7 says version 0.4 instead of 0.2; the rest is as it was"
    assert (said.code, said.out, said.err) == (0, f"{path.name}: {changed}\n", "")
    assert path.read_bytes() == NEW.encode()
    assert path.stat().st_mode & 0o777 == 0o664
    again = shell.run("migrate", path.name)
    assert (again.code, again.out) == (0, f"{path.name}: version 0.4 already; nothing changed\n")
    assert shell.run("migrate", path.name, "--to", "0.2").code == 0
    assert path.read_bytes() == OLD.encode()


def test_a_copy_is_written_elsewhere(shell: Shell) -> None:
    path, copy = old(shell), shell.home / "new.yaml"
    said = shell.run("migrate", str(path), "--to", "0.4", "--output", str(copy))
    assert said.out.startswith(f"{copy}: line 7 says version 0.4 instead of 0.2")
    assert (path.read_bytes(), copy.read_bytes()) == (OLD.encode(), NEW.encode())


def test_a_dry_run_prints_a_patch_that_git_takes(shell: Shell) -> None:
    path = old(shell)
    patch = shell.home / "patch"
    # As bytes: reading it as text would make other line ends of it.
    words = [*PROGRAM, "migrate", path.name, "--dry-run"]
    done = subprocess.run(words, cwd=shell.repo.path, capture_output=True, check=True)
    assert path.read_bytes() == OLD.encode()
    patch.write_bytes(done.stdout)
    shell.repo.git("apply", "-p0", str(patch))
    assert path.read_bytes() == NEW.encode()
    assert shell.run("migrate", path.name, "--dry-run") == Said(0, "", "")


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("version: '0.2'\nflows: 3\n", (), "the spec is not valid"),
        ("version: [", (), "the spec is not valid"),
        (OLD, ("--to", "0.1"), "5: flows.main.steps.x.intent: intent is of version 0.2"),
        ("version: &v '0.2'\nflows: {a: {steps: [{id: x, intent: *v}]}}", (), "mean something else"),
    ],
)
def test_what_cannot_be_migrated_is_left_alone(
    shell: Shell, text: str, words: tuple[str, ...], said: str
) -> None:
    path = old(shell, text)
    before = path.stat()
    for more in ((), ("--dry-run",), ("--output", str(shell.home / "x.yaml"))):
        done = shell.run("migrate", str(path), *words, *more)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"error: {path} was not migrated to version ")
        assert said in done.err
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert path.read_bytes() == text.encode()
    assert not (shell.home / "x.yaml").exists()


def test_what_is_no_spec_file_or_version_is_asked_wrongly(shell: Shell) -> None:
    assert shell.run("migrate", "none.yaml").code == 2
    assert shell.run("migrate", str(old(shell)), "--to", "0.9").code == 2
    binary = shell.home / "binary"
    binary.write_bytes(b"\xff")
    assert shell.run("migrate", str(binary)).code == 2
