"""Files and folders that are not what they seem: pipes, devices, links, folders of somebody else."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from stratum_git.app.checking import LIMIT, read_spec
from stratum_git.app.config import read_config
from stratum_git.app.settings import ConfigError
from stratum_git.errors import UserError
from stratum_git.git.repository import Repository
from stratum_git.slots.folders import check_root, state_folders
from tests.server.driven import dispatch, plan, spec
from tests.support.portal import serving, settle_in
from tests.support.shell import PROGRAM, SPEC, Shell

MOMENT = 20.0
BOMB = "a: &a [x]\n" + "".join(
    f"{chr(c)}: &{chr(c)} [{','.join(['*' + chr(c - 1)] * 99)}]\n" for c in range(98, 120)
)


def limited(shell: Shell, *words: str, memory: int = 600 * 1024 * 1024) -> subprocess.CompletedProcess[bytes]:
    """Runs the program within so much memory, and a moment."""
    program = f'ulimit -v {memory // 1024}; exec "$@"'
    return subprocess.run(
        ["bash", "-c", program, "bash", *PROGRAM, *words],
        cwd=shell.repo.path, env=shell.environment, capture_output=True, check=False, timeout=MOMENT,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["pipe", "zeros", "folder", "large", "loop", "utf16", "nul"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.yaml"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "zeros":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "large":
            with path.open("wb") as file:
                file.truncate(LIMIT * 1000)
        case "loop":
            path.symlink_to(path)
        case "utf16":
            path.write_text(SPEC, encoding="utf-16")
        case _:
            path = Path("x\0y")
    before = time.monotonic()
    if kind == "pipe":
        # Nobody writes to it, so it ends at once.
        assert read_spec(path) == ""
    else:
        with pytest.raises(UserError):
            read_spec(path)
    assert time.monotonic() - before < MOMENT


def test_a_pipe_that_is_written_to_is_read(tmp_path: Path) -> None:
    """As in ``validate <(make-a-spec)``."""
    reader, writer = os.pipe()
    with subprocess.Popen(["sh", "-c", "sleep 0.2; echo a"], stdout=writer):
        os.close(writer)
        assert read_spec(Path(f"/dev/fd/{reader}")) == "a\n"
    os.close(reader)


def test_no_verb_reads_without_end(shell: Shell) -> None:
    folder = shell.home / "tasks"
    folder.mkdir()
    (folder / "01.md").symlink_to("/dev/zero")
    os.mkfifo(folder / "02.md")
    os.mkfifo(shell.home / "pipe.stratum.yaml")
    for words, code in (
        (("validate", "/dev/zero"), 2),
        (("validate", str(shell.home / "pipe.stratum.yaml")), 1),
        (("migrate", "/dev/zero"), 2),
        (("compile", str(folder)), 1),
        (("run", shell.spec(), "--input=tasks=@/dev/zero", "--agent=default=true"), 2),
    ):
        assert limited(shell, *words).returncode == code, words


def test_deep_or_false_json_is_no_input(shell: Shell) -> None:
    for number, text in enumerate(
        ("[" * 100_000, "[" * 500 + "]" * 500, "[NaN]", '{"a":1,"a":2}', "[1e999]")
    ):
        path = shell.file(f"{number}.json", text)
        said = limited(shell, "run", shell.spec(), f"--input=tasks=@{path}", "--agent=default=true")
        assert (said.returncode, b"is not JSON" in said.stderr) == (2, True), text[:20]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("agents: {a: {command: \"'\"}}", "not a list of words"),
        ("agents: {a: {command: [x], timeout: .nan}}", "not a number that can be used"),
        ("agents: {a: {command: [x], env: {'a=b': 1}}}", "name of a variable"),
        ("slots: {root: ~nobody-is-called-so/x}", "there is no such user"),
        ("slots: {root: ../x}", "not an absolute path"),
        ("agents: !!python/object/apply:os.system [touch pwned]", "not supported"),
        ("[" * 100_000, "nested deeper"),
        (BOMB, "more than"),
        ('a: "\\0"', "NUL"),
        ("a: 1\na: 2", "twice"),
        ("x" * 300_000, "larger"),
        ("\ufeff[", "is not YAML"),
    ],
)  # fmt: skip
def test_settings_that_are_a_trap_are_refused(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / ".stratum").mkdir()
    (tmp_path / ".stratum/config.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path)
    assert word in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("kind", ["zeros", "pipe", "folder"])
def test_settings_that_are_no_file_hang_nobody(shell: Shell, kind: str) -> None:
    path = shell.repo.path / ".stratum/config.yaml"
    path.parent.mkdir()
    if kind == "zeros":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert limited(shell, "doctor").returncode == (0 if kind == "pipe" else 1)


@pytest.mark.parametrize(
    "root", ["/", "/etc", "/proc", "/dev/null", "/nowhere/at/all", "REPO/.git/x", "LOOP"]
)
def test_settings_have_no_folder_made_anywhere(shell: Shell, root: str) -> None:
    loop = shell.home / "loop"
    loop.symlink_to(loop)
    place = root.replace("REPO", str(shell.repo.path)).replace("LOOP", str(loop))
    shell.repo.write(".stratum/config.yaml", f"slots: {{root: {place}}}\n")
    before = sorted(Path("/").iterdir()), sorted(Path("/etc").iterdir())
    said = shell.run("run", shell.spec(), shell.tasks({"id": "a"}), shell.agent("true"))
    assert said.code == 2, said
    assert "slots.root" in said.err or "inside of the repository" in said.err
    assert shell.run("doctor").code == 1
    assert (sorted(Path("/").iterdir()), sorted(Path("/etc").iterdir())) == before


def test_slots_lie_in_a_folder_for_them_alone(tmp_path: Path) -> None:
    (tmp_path / "repo-0123abcd").mkdir()
    check_root(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="other things"):
        check_root(tmp_path)


def test_a_state_folder_of_somebody_else_is_not_used(repo: Repository, tmp_path: Path) -> None:
    """What is in ``trash`` there is deleted, so nobody may have it lead to what is not ours."""
    state_folders(repo, tmp_path / "a")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / repo.key).symlink_to(tmp_path)
    with pytest.raises(UserError, match="not a folder"):
        state_folders(repo, tmp_path / "a")
    (tmp_path / "b" / repo.key).mkdir(parents=True)
    state_folders(repo, tmp_path / "b")
    if os.geteuid() == 0:
        shutil.chown(tmp_path / "b" / repo.key, 12345)
        with pytest.raises(UserError, match="another user"):
            state_folders(repo, tmp_path / "b")


def test_a_runner_takes_no_module_of_the_repository_for_its_own(tmp_path: Path) -> None:
    shell = settle_in(tmp_path)
    canary = shell.home / "ran"
    for name in ("yaml", "trio", "stratum_git", "sitecustomize", "git"):
        shell.repo.write(f"{name}.py", f"open({str(canary)!r}, 'w')\n")
    shell.repo.commit(
        "modules", {".stratum/config.yaml": "agents: {default: {command: [touch, done.txt]}}\n"}
    )
    with serving(shell) as server:
        flow = plan(server, spec(dispatch()), {"tasks": [{"id": "a"}]})["flow_id"]
        started = server.call("stratum_parallel_start", flow_id=flow)
        assert started["status"] == "started", started
        assert server.call("stratum_parallel_wait", flow_id=flow, seconds=30)["status"] == "settled"
    assert not canary.exists()
    assert "done.txt" in shell.repo.files("main")


def test_a_draft_is_not_written_through_a_link(tmp_path: Path) -> None:
    shell = settle_in(tmp_path)
    precious = shell.home / "precious"
    precious.write_text("mine")
    (shell.repo.path / ".stratum").mkdir()
    (shell.repo.path / ".stratum/pipeline-draft.json").symlink_to(precious)
    os.mkfifo(shell.repo.path / "a.stratum.yaml")
    (shell.repo.path / "b.stratum.yaml").symlink_to("/dev/zero")
    with serving(shell) as server:
        refused = server.call("stratum_draft_pipeline", draft={"name": "x"})
        assert refused["status"] == "error", refused
        (shell.repo.path / ".stratum/pipeline-draft.json").unlink()
        (shell.repo.path / ".stratum").rmdir()
        (shell.repo.path / ".stratum").symlink_to(shell.home)
        assert server.call("stratum_draft_pipeline", draft={"name": "x"})["status"] == "error"
        listed = server.call("stratum_list_workflows")
        assert (listed["workflows"], len(listed["errors"])) == ([], 2)
    assert precious.read_text() == "mine"
    assert not (shell.home / "pipeline-draft.json").exists()
