"""What is shipped: the wheel, in an environment that has nothing else."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from stratum_git import resources
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell

ROOT = Path(__file__).parents[2]
FIND = """
from stratum_git.resources import contracts, hooks
print(*(path.name for folder in (contracts(), hooks()) for path in folder.iterdir()))
"""
NO_EXTRA = """
from stratum_git.agents.base import AgentSpec
from stratum_git.agents.kinds import agent_of
spec = AgentSpec("writer", (), kind="api", model="m", env={"ANTHROPIC_API_KEY": "sk-ant-fake"})
print(agent_of(spec, {}).problem())
"""


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT)
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_and_what_lies_beside_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    assert {n for n in names if n.startswith("stratum_git/_data/contracts/")} == {
        f"stratum_git/_data/contracts/{path.name}" for path in (ROOT / "contracts").iterdir()
    }
    assert "stratum_git/_data/hooks/README.md" in names
    assert {f"stratum_git/_data/claude-plugin/{name}.json" for name in ("plugin", "marketplace")} <= names
    listed = run("git", "ls-files", "stratum_git/plugin").splitlines()
    assert {"stratum_git/plugin/skills/stratum-plan/SKILL.md", *listed} <= names
    assert "stratum_git/py.typed" in names
    scripts = ROOT / "stratum_git" / "git" / "fence_scripts"
    assert {f"stratum_git/git/fence_scripts/{path.name}" for path in scripts.iterdir()} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "scripts/"))]


def test_the_wheel_works_in_an_empty_environment(
    wheel: Path, tmp_path: Path, scratch: ScratchRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    bin_ = tmp_path / "venv" / "bin"
    run(bin_ / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check", wheel)
    shell = Shell(tmp_path, scratch)
    program = bin_ / "stratum-git"
    assert run(program, "--version", cwd=tmp_path).startswith("stratum-git ")
    agent = shell.agent('echo x > "$STRATUM_TASK.txt"')
    said = run(program, "run", shell.spec(), shell.tasks({"id": "x"}, {"id": "y"}), agent, cwd=scratch.path)
    assert "is complete" in said
    assert scratch.files("main")[-2:] == ["x.txt", "y.txt"]
    made = tmp_path / "plugin"
    run(program, "install", "--plugin", made, cwd=scratch.path)
    assert (made / "skills/stratum-plan/SKILL.md").is_file()
    assert f"exec {program} hook stop" in (made / "hooks/stop").read_text()
    found = run(bin_ / "python", "-c", FIND, cwd=tmp_path).split()
    assert {path.name for path in (*(ROOT / "contracts").iterdir(), *(ROOT / "hooks").iterdir())} <= set(
        found
    )
    problem = run(bin_ / "python", "-c", NO_EXTRA, cwd=tmp_path)
    assert problem == "the agent writer needs the library anthropic: pip install 'stratum-git[api]'\n"


def test_a_checkout_finds_what_lies_beside_it() -> None:
    assert resources.contracts() == ROOT / "contracts"
    assert resources.hooks() == ROOT / "hooks"


def test_only_what_belongs_there_is_at_the_top() -> None:
    listed = run("git", "ls-files").splitlines()
    assert {name.partition("/")[0] for name in listed if not name.startswith(".")} == {
        "LICENSE", "README.md", "contracts", "hooks", "pyproject.toml", "scripts", "stratum_git", "tests",
    }  # fmt: skip
