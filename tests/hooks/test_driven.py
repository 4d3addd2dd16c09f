"""A session that drives a flow through a server of its own, and the hooks beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.hooks.asking import ClientHooks
from tests.server.driven import dispatch, plan, reported, row, spec
from tests.support.portal import serving, settle_in
from tests.support.repos import ScratchRepo

TWO = {"tasks": [{"id": "one"}, {"id": "two"}]}


def test_from_the_first_batch_to_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = settle_in(tmp_path)
    client = ClientHooks(shell.repo, shell.home / "state", session="the-session")
    other = replace(client, session="another-session")
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", client.session)
    monkeypatch.setenv("XDG_STATE_HOME", str(client.state))
    with serving(shell) as server:
        first = plan(
            server, spec(dispatch(), "function: review, on_approve: null, on_revise: s1, on_kill: null"), TWO
        )
        flow, slot = first["flow_id"], Path(first["batch"][0]["path"])
        # Another session is told of it, and not held up for it.
        told = other.ask("session-start").out
        assert f"flow {flow} (main): running, step s1 (0 of 2)" in told
        assert "2 task(s) were handed out and are not reported" in told
        assert f'stratum_resume(flow_id="{flow}")' in told
        assert other.ask("stop").code == 0
        # Inside of a task's place nobody is told to take the flow up.
        assert client.ask("session-start", slot).out == ""
        ScratchRepo(slot).write("one.txt", "1\n")
        client.ask("subagent-stop", slot)
        seen = f"refs/stratum/attempts/{flow}/s1/one/1-seen"
        assert shell.repo.git("show", f"{seen}:one.txt") == "1"
        refused = client.ask("stop")
        assert refused.code == 2
        assert f"- one (attempt 1, flow {flow}): {slot}" in refused.err
        assert shell.run("logs", flow, "one").out.startswith(
            "--- subagent aa1cab8d9 (general-purpose) said last:\nsub done"
        )
        after = reported(server, flow, row("one"), row("two"))
        assert after["status"] == "await_gate"
        assert shell.repo.git("for-each-ref", "refs/stratum/attempts", "refs/stratum/leases") == ""
        assert client.ask("stop").code == 0
        assert f"`stratum-git gate approve {flow} s2`" in other.ask("session-start").out
        assert (shell.repo.path / "one.txt").read_text() == "1\n"
    assert shell.run("cancel", flow).code == 0
    assert shell.run("gc", "--older-than", "0s").code == 0
    assert list((client.folders.root / "clients").rglob(f"{flow}*")) == []
