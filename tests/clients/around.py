"""How the story goes on outside of the client, and what must be true when it is over."""

from __future__ import annotations

import json

from tests.clients.story import PAGES
from tests.support.clients import House, Run, servers, until

SUBJECTS = [f"{page}: Write the page {page}." for page in PAGES]


def approved(house: House, run: Run) -> str:
    """Waits until the client waits at a gate, approves in a terminal, waits for its end; returns the flow."""
    until(lambda: run.is_over() or waits_at_gate(house), "a client that waits at a gate")
    assert not run.is_over(), run.told()
    (gate,) = gates(house)
    said = house.shell.run("gate", "approve", gate["flow_id"], gate["step_id"], "--note", "well done")
    assert said.code == 0, said
    run.wait()
    assert run.code == 0, run.told()
    return gate["flow_id"]


def waits_at_gate(house: House) -> bool:
    """Returns whether the model has asked for what comes next, as it does at a gate."""
    return any("stratum_events" in json.dumps(one.reply) for one in house.api.to("main"))


def gates(house: House) -> list[dict[str, str]]:
    """Returns what waits for somebody, as a terminal tells."""
    found: list[dict[str, str]] = json.loads(house.shell.run("query", "gates").out)
    return found


def told(house: House, flow: str) -> list[str]:
    """Returns the story of a flow, as git has it: who, and what."""
    ref = f"refs/stratum/flows/{flow}"
    return house.repo.git("log", "--first-parent", "--reverse", "--format=%an: %s", ref).splitlines()


def assert_landed(house: House, since: str) -> None:
    """Every page is there, once, by a commit of its own, and the checkout has followed."""
    assert sorted(house.repo.git("log", "--format=%s", f"{since}..main").splitlines()) == sorted(SUBJECTS)
    assert house.repo.files("main:pages") == sorted(f"{page}.md" for page in PAGES)
    assert house.repo.git("status", "--porcelain") == ""


def assert_nothing_left(house: House, flow: str) -> None:
    """No lease, no slot that somebody is in, no worktree of the client's, no server.

    What a capture that was killed had found besides the files may be kept, as it is of any attempt.
    """
    kept = house.repo.git("for-each-ref", "--format=%(refname)", "refs/stratum/attempts").split()
    assert [ref for ref in kept if not ref.endswith("-rest")] == []
    assert house.repo.git("for-each-ref", "refs/stratum/leases") == ""
    records = (house.shell.home / "state").glob("**/slot-????????.json")
    assert [path for path in records if flow in path.read_text(encoding="utf-8")] == []
    assert not (house.repo.path / ".claude/worktrees").exists()
    until(lambda: not servers(house.repo.path), "the end of the server")
