"""Stop: a session is held up once for its own work, and never for that of others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stratum_git.app.clients import CLAIM
from tests.hooks.asking import ClientHooks
from tests.hooks.placing import driven, leased, placed

QUIET = ("", "", 0)


def ends(client: ClientHooks, **more: Any) -> tuple[str, str, int]:
    answer = client.ask("stop", **more)
    return answer.out, answer.err, answer.code


def test_a_session_without_work_may_stop(client: ClientHooks) -> None:
    assert ends(client) == QUIET
    placed(client)
    leased(client)
    assert ends(client) == QUIET


def test_it_is_refused_once_with_tasks_places_and_the_call(client: ClientHooks) -> None:
    slot = placed(client)
    leased(client)
    driven(client)
    out, err, code = ends(client)
    assert (out, code) == ("", 2)
    assert f"- one (attempt 1, flow f): {slot}" in err
    assert 'stratum_parallel_done(flow_id="f", step_id="s1"' in err
    assert ends(client) == QUIET
    # More work is another matter.
    leased(client, "two")
    assert "- two (attempt 1, flow f)" in ends(client)[1]
    assert ends(client) == QUIET


def test_who_reports_some_is_not_asked_again_for_the_rest(client: ClientHooks) -> None:
    leased(client)
    leased(client, "two")
    driven(client)
    assert ends(client)[2] == 2
    client.repo.git("update-ref", "-d", "refs/stratum/leases/f/s1/one")
    assert ends(client) == QUIET


def test_nobody_is_held_up_twice_or_while_subagents_work(client: ClientHooks) -> None:
    leased(client)
    driven(client)
    assert ends(client, stop_hook_active=True) == QUIET
    task = {"id": "a1", "type": "subagent", "status": "running", "description": "d"}
    assert ends(client, background_tasks=[task]) == QUIET
    assert ends(client, background_tasks=[task | {"status": "completed"}])[2] == 2


def test_a_session_is_not_held_up_by_what_another_one_drives(client: ClientHooks) -> None:
    leased(client)
    driven(client)
    other = replace(client, session="other-session")
    driven(other, "g", "other-session")
    assert ends(other) == QUIET
    # Whoever took the flow over has it now.
    driven(other)
    assert ends(client) == QUIET
    assert ends(other)[2] == 2


def test_a_claimed_task_is_of_the_session_that_claimed_it(client: ClientHooks) -> None:
    leased(client, holder="worker", session=client.session)
    driven(client, kind=CLAIM)
    other = replace(client, session="other-session")
    driven(other)
    assert ends(other) == QUIET
    _, err, code = ends(client)
    assert code == 2
    assert 'stratum_task_complete(lease="f/s1/one/1-one-nonce"' in err


def test_nobody_waits_for_a_lease_that_is_over(client: ClientHooks) -> None:
    leased(client, holder="worker", session=client.session, seconds=-1)
    driven(client, kind=CLAIM)
    assert ends(client) == QUIET
