"""Conflicts as the user meets them: shown, resolved by a driver or from memory, recorded."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from stratum_git.app.config import read_config
from stratum_git.app.drivers import driver_specs
from stratum_git.app.settings import ConfigError
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.workshop import make_context
from stratum_git.dispatch.remembering import remember
from stratum_git.git.grafting import graft
from stratum_git.store.resolutions import Provenance
from tests.support.contracts import conforms
from tests.support.drivers import calls, fake_mergiraf
from tests.support.shell import SPEC, Shell

BASE = "import os\n\n\ndef work():\n    return os.name\n"
AGENT = """\
case "$STRATUM_TASK" in
a) sed -i 's/^import os$/import os\\nimport abc/' m.py ;;
b) sed -i 's/^import os$/import os\\nimport zlib/' m.py ;;
esac
"""


@pytest.fixture
def imports(shell: Shell) -> Shell:
    """A user whose two tasks add an import each, at the same place."""
    shell.repo.commit("module", {"m.py": BASE})
    return shell


def around(shell: Shell) -> Surroundings:
    return Surroundings(shell.repo.path, shell.environment)


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def run(shell: Shell, *more: str) -> tuple[int, str]:
    """Runs a flow of the tasks a and b; returns the exit code, and its id."""
    before = set(shell.flows())
    tasks = shell.tasks({"id": "a", "intent": "Add abc"}, {"id": "b", "intent": "Add zlib\n\nIt is small."})
    said = shell.run("run", shell.spec(), tasks, shell.agent(AGENT), "--quiet", *more)
    (flow,) = set(shell.flows()) - before
    return said.code, flow


def shown(shell: Shell, *words: str) -> list[dict[str, Any]]:
    said = shell.run("conflicts", *words, "--json")
    assert (said.code, said.err) == (0, "")
    conforms(said.json(), "conflicts.v1")
    return cast("list[dict[str, Any]]", said.json())


def test_a_conflict_is_shown_with_both_intents_and_the_smallest_hunk(imports: Shell) -> None:
    code, flow = run(imports)
    assert code == 1
    (row,) = shown(imports, flow)
    assert (row["task_id"], row["title"], row["intent"]) == ("b", "b: Add zlib", "Add zlib\n\nIt is small.")
    assert row["next"] == f"stratum-git resolve {flow} b"
    assert imports.repo.git("rev-parse", row["ref"]) == row["conflict"]
    (file,) = row["files"]
    assert (file["path"], file["kind"]) == ("m.py", "content")
    assert [(one["task_id"], one["intent"], one["title"]) for one in file["against"]] == [
        ("a", "Add abc", "a: Add abc")
    ]
    assert file["against"][0]["commit"] == imports.repo.head()
    (hunk,) = file["hunks"]
    assert hunk == {
        "base": {"start": 2, "lines": []},
        "ours": {"start": 2, "lines": ["import abc\n"]},
        "theirs": {"start": 2, "lines": ["import zlib\n"]},
        "before": [],
        "after": [],
    }
    assert imports.repo.git("cat-file", "blob", file["theirs"]["oid"]).startswith("import os\nimport zlib")


def test_a_driver_merges_what_it_knows_and_that_is_recorded(
    imports: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake_mergiraf(tmp_path / "bin")
    use(monkeypatch, tmp_path / "bin")
    code, flow = run(imports)
    assert code == 0
    assert {"import abc", "import os", "import zlib"} <= set(imports.repo.show("HEAD:m.py").splitlines())
    assert calls(log) == ["languages", "--version", "merge"]
    assert "Stratum-Mended: m.py (driver mergiraf 9.9.9)" in imports.repo.git("log", "-1", "--format=%B")
    events = cast("list[dict[str, Any]]", imports.run("log", flow, "--json").json())
    assert "m.py by driver mergiraf 9.9.9" in json.dumps(events)
    state = json.loads(imports.repo.show(f"refs/stratum/flows/{flow}~1:state.json"))
    entries = state["event"]["entries"]
    assert [entry.get("mends") for entry in entries] == [
        None,
        [{"type": "mend", "path": "m.py", "rung": "driver", "by": "mergiraf 9.9.9"}],
    ]


def resolve(shell: Shell, flow: str, text: str) -> None:
    """Remembers *text* for the parked conflict of b, as landing a resolution does."""
    (row,) = shown(shell, flow)
    context = make_context(around(shell), around(shell).repository(), ())
    blob = context.writer.blob(text.encode())
    parked = context.merger.trees.root(row["conflict"])
    tree = graft(context.merger.trees, context.writer, parked, {"m.py": ("100644", blob)})
    whence = Provenance("person", "Tess Ter", flow, "build", "b", 1.0)
    assert len(remember(context, row["conflict"], tree, whence)) == 1
    context.close()


def test_what_was_resolved_before_is_resolved_the_same_way(imports: Shell) -> None:
    code, flow = run(imports)
    assert code == 1
    text = BASE.replace("import os\n", "import os\nimport zlib, abc\n")
    resolve(imports, flow, text)
    imports.repo.git("reset", "-q", "--hard", "HEAD~1")

    code, again = run(imports)
    assert code == 0
    assert imports.repo.show("HEAD:m.py") == text.strip()
    (known,) = remembered(imports)
    by = f"{known['digest'][:12]}, person Tess Ter in {flow}"
    assert f"Stratum-Mended: m.py (memory {by})" in imports.repo.git("log", "-1", "--format=%B")
    assert f"m.py by memory {by}" in imports.run("log", again).out
    assert imports.run("conflicts", again).code == 1
    forgotten = imports.run("conflicts", "--forget", "m.py", "--json")
    conforms(forgotten.json(), "resolutions.v1")
    assert forgotten.json() == [known]
    assert imports.run("conflicts", "--remembered").code == 1


def remembered(shell: Shell) -> list[dict[str, Any]]:
    said = shell.run("conflicts", "--remembered", "--json")
    conforms(said.json(), "resolutions.v1")
    return cast("list[dict[str, Any]]", said.json())


MANY = """\
sed -i "s/^5$/five of $STRATUM_TASK/" "text ü.txt"
printf "$STRATUM_TASK\\\\0" > bin.dat
echo "$STRATUM_TASK" > go.mod
printf "$STRATUM_TASK\\r\\n" > crlf.py
ln -sfn "to-$STRATUM_TASK" link
case "$STRATUM_TASK" in
a) git rm -q gone.txt; git mv old.txt one.txt ;;
b) echo more >> gone.txt; git mv old.txt two.txt ;;
esac
"""


def test_conflicts_of_every_kind_are_told(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_mergiraf(tmp_path / "bin")
    use(monkeypatch, tmp_path / "bin")
    lines = "".join(f"{n}\n" for n in range(10))
    files: dict[str, str | bytes] = {
        "text ü.txt": lines,
        "bin.dat": b"0\0",
        "gone.txt": "g\n",
        "go.mod": "0\n",
        "crlf.py": b"0\r\n",
        "old.txt": lines * 3,
    }
    (shell.repo.path / "link").symlink_to("to")
    shell.repo.commit("files", files)
    tasks = shell.tasks({"id": "a", "intent": "Do a"}, {"id": "b", "intent": "Do b"})
    assert shell.run("run", shell.spec(), tasks, shell.agent(MANY), "--quiet").code == 1
    flow = shell.flow()
    (row,) = shown(shell, flow, "b", "--context", "1")
    told = {file["path"]: file for file in row["files"]}
    assert set(told) == set(row["paths"])
    (hunk,) = told["text ü.txt"]["hunks"]
    assert hunk == {
        "base": {"start": 6, "lines": ["5\n"]},
        "ours": {"start": 6, "lines": ["five of a\n"]},
        "theirs": {"start": 6, "lines": ["five of b\n"]},
        "before": ["4\n"],
        "after": ["6\n"],
    }
    assert told["text ü.txt"]["words"] == ""
    assert told["bin.dat"]["words"].startswith("binary: it was ")
    assert told["gone.txt"]["words"].startswith("deleted on the target, changed in the result: it was ")
    assert (told["gone.txt"]["kind"], told["gone.txt"]["ours"]) == ("modify/delete", None)
    assert told["link"]["words"].startswith("a symbolic link: to, to-a, to-b (it was ")
    assert told["one.txt"]["words"].startswith("only on the target: ")
    assert told["two.txt"]["words"].startswith("only in the result: ")
    assert told["old.txt"]["words"] == "on neither side: renamed, or gone into a folder"
    assert {told[path]["kind"] for path in ("one.txt", "two.txt", "old.txt")} == {"rename/rename"}
    assert [one["task_id"] for one in told["gone.txt"]["against"]] == ["a"]
    by = "mergiraf 9.9.9"
    assert row["mended"] == [{"path": "go.mod", "rung": "driver", "by": by}]
    assert row["tried"] == [
        {"path": "crlf.py", "rung": "driver", "by": f"{by}: it changed the ends of lines"}
    ]
    assert shell.repo.show(f"{row['conflict']}:go.mod") == "a\nb"

    said = shell.run("conflicts", flow)
    assert (said.code, said.err) == (0, "")
    for line in (
        f"b: Do b  (b, parked as {row['conflict'][:10]})",
        "  b wants: Do b",
        f"    against a: Do a ({shell.repo.head()[:10]}, task a)",
        "    @@ was 6, target 6, result 6 @@",
        "    | 5",
        "    < five of a",
        "    > five of b",
        f"  merged already: go.mod, by driver {by}",
        f"  tried: crlf.py, driver {by}: it changed the ends of lines",
        f"  next: stratum-git resolve {flow} b",
    ):
        assert line in said.out.splitlines(), line
    assert "\x1b" not in said.out


def test_who_else_changed_a_file_meanwhile_is_named(shell: Shell) -> None:
    agent = shell.agent(
        'echo "by $STRATUM_TASK" > a.txt; git -C "$HOME/../repo" log -1 >/dev/null 2>&1; exit 0'
    )
    spec = shell.spec(SPEC + "        base: HEAD~1\n")
    shell.repo.commit("by hand", {"a.txt": "by hand\n"})
    assert shell.run("run", spec, shell.tasks({"id": "x"}), agent, "--quiet").code == 1
    (row,) = shown(shell, shell.flow(), "x")
    assert [(one["title"], one["author"], one["task_id"]) for one in row["files"][0]["against"]] == [
        ("by hand", "Tess Ter", None)
    ]


def test_what_cannot_be_asked_is_said(shell: Shell) -> None:
    assert shell.run("conflicts").code == 2
    assert shell.run("conflicts", "--forget", "m.py").code == 2
    shell.run("run", shell.spec(), shell.tasks({"id": "x"}), shell.agent("echo x > x.txt"), "--quiet")
    flow = shell.flow()
    assert shell.run("conflicts", flow).code == 1
    said = shell.run("conflicts", flow, "nobody", "--json")
    conforms(said.json(), "error.v1")
    assert said.code == 2


def test_drivers_of_the_settings_come_first_and_doctor_names_them(
    imports: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake_mergiraf(tmp_path / "bin")
    use(monkeypatch, tmp_path / "bin")
    driver = imports.file("own driver", '#!/bin/sh\ncat "$1" > "$2"; echo "# $3" >> "$2"\n')
    driver.chmod(0o755)
    settings = imports.repo.path / ".stratum/config.yaml"
    settings.parent.mkdir()
    (imports.repo.path / ".git/info").mkdir(exist_ok=True)
    (imports.repo.path / ".git/info/exclude").write_text("/.stratum/\n")
    row = f"{{command: ['{driver}', '%B', '%A', '%P'], files: ['*.py'], timeout: 5}}"
    settings.write_text(f"merge_drivers: {{own: {row}}}\n")
    findings = cast("list[dict[str, Any]]", imports.run("doctor", "--json").json())
    assert {f["check"]: f["detail"] for f in findings if f["check"].startswith("merge driver")} == {
        "merge driver own": f"{driver}, for *.py",
        "merge driver mergiraf": f"{tmp_path}/bin/mergiraf, for the files it knows",
    }
    assert calls(log) == []
    code, _ = run(imports)
    assert (code, calls(log)) == (0, [])
    assert imports.repo.show("HEAD:m.py").endswith("# m.py")
    assert "Stratum-Mended: m.py (driver own)" in imports.repo.git("log", "-1", "--format=%B")
    config = read_config(imports.repo.path)
    assert [spec.name for spec in driver_specs(around(imports), around(imports).repository(), config)] == [
        "own", "mergiraf",
    ]  # fmt: skip
    settings.write_text("merge_drivers: {mergiraf: off}\n")
    config = read_config(imports.repo.path)
    assert driver_specs(around(imports), around(imports).repository(), config) == ()
    for wrong, said in (
        ("{x: {command: [a, '%A']}}", "files is not a list of patterns"),
        ("{x: {command: [a], files: ['*']}}", "does not name %A"),
        ("{x: {command: [sh, -c, 'tool %A %P'], files: ['*']}}", "%P among other words"),
        ("{x: {command: [a, '%A'], files: ['*'], timeout: 0}}", "timeout is not a number"),
    ):
        settings.write_text(f"merge_drivers: {wrong}\n")
        with pytest.raises(ConfigError, match=said):
            read_config(imports.repo.path)


CHECKED = (
    SPEC
    + "        verify: \"! grep -qx 'import abc' m.py || ! grep -qx 'import zlib' m.py\"\n"
    + "        on_quorum: keep\n"
)
FIX = "printf 'import os\\nimport abc, zlib\\n\\n\\ndef work():\\n    return os.name\\n' > m.py"


def test_what_a_driver_spoils_is_left_to_an_agent(imports: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_mergiraf(imports.home / "bin")
    use(monkeypatch, imports.home / "bin")
    spec = imports.spec(CHECKED + "        on_conflict: agent\n        resolver: fixer\n")
    tasks = imports.tasks({"id": "a"}, {"id": "b"})
    agents = [imports.agent(AGENT), imports.agent(FIX, "fixer")]

    said = imports.run("run", spec, tasks, *agents, "--quiet")

    assert said.code == 0, said.out
    assert "import abc, zlib" in imports.repo.show("HEAD:m.py")
    assert "Stratum-Mended: m.py (agent fixer)" in imports.repo.git("log", "-1", "--format=%B")


def test_what_a_driver_spoils_is_left_to_a_person(imports: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_mergiraf(imports.home / "bin")
    use(monkeypatch, imports.home / "bin")
    spec = imports.spec(CHECKED + "        require: any\n")
    tasks = imports.tasks({"id": "a"}, {"id": "b"})
    assert imports.run("run", spec, tasks, imports.agent(AGENT), "--quiet").code == 0
    flow = imports.flow()
    (row,) = shown(imports, flow)
    assert [one["by"] for one in row["tried"]] == ["mergiraf 9.9.9: a check failed with it"]

    opened = imports.run("resolve", flow, row["task_id"], "--json")

    assert opened.code == 0, opened.out
    slot = Path(cast("dict[str, str]", opened.json())["path"])
    assert "<<<<<<<" in (slot / "m.py").read_text()
    (slot / "m.py").write_text("import os\nimport abc, zlib\n\n\ndef work():\n    return os.name\n")
    assert imports.run("resolve", flow, row["task_id"], "--done").code == 0
    assert "import abc, zlib" in imports.repo.show("HEAD:m.py")
