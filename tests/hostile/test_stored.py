"""Refs of flows that somebody else wrote: named, never run, and no reason not to list the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.repository import open_repository
from tests.hostile.test_places import limited
from tests.server.driven import dispatch, plan, spec, tampered
from tests.support.portal import serving, settle_in
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell


def flow_of(repo: ScratchRepo, name: str, files: dict[str, bytes]) -> None:
    """Makes the ref of a flow whose tree has these files."""
    writer = ObjectWriter(open_repository(repo.path), durable=False)
    tree = writer.tree({path: ("100644", writer.blob(data)) for path, data in files.items()})
    who = Signature("x", "x@example.invalid", 0.0)
    repo.git("update-ref", f"refs/stratum/flows/{name}", writer.commit(tree, (), "x", who, who))


def stored(repo: ScratchRepo, flow: str) -> dict[str, bytes]:
    """Returns the files at the top of a flow's tree."""
    names = repo.git("ls-tree", "--name-only", f"refs/stratum/flows/{flow}").splitlines()
    return {n: repo.show(f"refs/stratum/flows/{flow}:{n}").encode() for n in names}


HEADERS: dict[str, object] = {
    "base": "--output=pwned", "target": "--upload-pack=touch pwned", "flow": "../../x", "cursor": "none",
    "status": "perhaps", "seq": "many", "started": [], "driver": "nobody", "states": [{"type": "working"}],
    "book": 3, "unsynced": [3], "version": 99, "records": [[]], "near": "x", "parent": "-x",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A user with one good flow and many bad ones."""
    shell = settle_in(tmp_path_factory.mktemp("stored"))
    with serving(shell) as server:
        good = plan(server, spec("intent: x"))["flow_id"]
    files = stored(shell.repo, good)
    head = json.loads(files["state.json"])
    for number, (key, value) in enumerate(HEADERS.items()):
        bad = json.dumps({**head, key: value}).encode()
        flow_of(shell.repo, f"bad-{number}", {**files, "state.json": bad})
    odd = {
        "odd-none": {}, "odd-text": {"state.json": b"not json"}, "odd-list": {"state.json": b"[]"},
        "odd-deep": {**files, "state.json": b"[" * 200_000}, "odd-spec": {**files, "spec.yaml": b"\xff"},
        "odd-python": {**files, "spec.yaml": b"!!python/object/apply:os.system [touch pwned]"},
        "odd-number": {**files, "state.json": b'{"seq": ' + b"9" * 100_000 + b"}"},
        "odd-huge": {**files, "state.json": b'{"a": "' + b" " * 200_000_000 + b'"}'},
    }  # fmt: skip
    for name, made in odd.items():
        flow_of(shell.repo, name, made)
    blob = shell.repo.git("hash-object", "-w", "a.txt")
    shell.repo.git("update-ref", "refs/stratum/flows/odd-blob", blob)
    shell.file("good", good)
    return shell


def test_the_good_are_listed_and_the_bad_are_named(home: Shell) -> None:
    good = (home.home / "good").read_text()
    said = limited(home, "query", "flows")
    assert said.returncode == 0, said.stderr
    assert good in {row["flow_id"] for row in json.loads(said.stdout)}
    for name in ("odd-none", "odd-text", "odd-list", "odd-deep", "odd-number", "odd-huge", "odd-blob"):
        assert f"the flow {name} cannot be read" in said.stderr.decode()
    assert limited(home, "doctor").returncode == 1


def test_nothing_of_a_bad_one_is_done(home: Shell) -> None:
    flows = home.flows()
    bad = [flow for flow in flows if flow.startswith(("bad-", "odd-"))]
    before = home.repo.git("for-each-ref")
    with serving(home) as server:
        for flow in bad:
            for tool in ("stratum_resume", "stratum_audit"):
                assert server.call(tool, flow_id=flow)["status"] == "error", (flow, tool)
            told = server.call("stratum_task_diff", flow_id=flow, task_id="s1")
            assert told["status"] == "error", (flow, told)
    assert home.repo.git("for-each-ref") == before
    for words in (("diff", "bad-0", "s1"), ("resume", "bad-0"), ("query", "flow", "odd-deep")):
        assert limited(home, *words).returncode in {1, 2, 3}, words
    places = (home.repo.path, home.home, Path.cwd())
    assert not any((place / "pwned").exists() for place in places)


def test_a_flow_with_another_spec_is_refused(tmp_path: Path) -> None:
    shell = settle_in(tmp_path)
    with serving(shell) as server:
        flow = plan(server, spec(dispatch()), {"tasks": [{"id": "a"}]})["flow_id"]
        tampered(shell.repo, flow, "version: '0.3'\n")
        assert server.call("stratum_audit", flow_id=flow)["status"] == "error"
