"""What a glance passes over is nothing: whatever would be said is never missed by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.app.hooks.asked import Asked
from stratum_git.app.hooks.commands import FETCHERS, HOSTS, pre_tool_use
from stratum_git.app.hooks.glances import Glance, may_matter
from tests.hooks.asking import ClientHooks
from tests.hooks.placing import placed

WORDS = (
    "git", "g'i't", 'gi"t"', "g\\it", "rm", "curl", "wget", "python3 -c", "eval", "sh -c", "cd ..", "&&", "|",
    "\n", "stash", "push --force", "'import openai'", "https://api.x.ai/v1", "<<E\nimport anthropic\nE\n",
    "$(", ")", "api.gr''oq.com", '"$OPENAI_BASE_URL"', "litellm", "`", "#", "a",
)  # fmt: skip


def seen(command: str, state: str | None = None) -> bool:
    return may_matter("commands", Glance({"tool_input": {"command": command}}, None, state))


@pytest.mark.parametrize("host", HOSTS)
def test_every_host_of_a_model_is_seen(host: str) -> None:
    name = host.replace("[a-z0-9-]+", "eu-1")
    for program in FETCHERS:
        assert seen(f"{program} https://{name}/v1")


@given(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join))
def test_no_command_is_passed_over_that_asks_a_model(command: str) -> None:
    row = {"tool_input": {"command": command}}
    asked = Asked(row, "/", {}, None, Glance(row, None, None))
    if pre_tool_use(asked).out:
        assert seen(command)


def test_gits_are_looked_at_where_somebody_is_at_work(client: ClientHooks) -> None:
    state = str(client.folders.root)
    assert not seen("git stash", state)
    slot = placed(client)
    for command in ("git stash", "g'i't stash", "gi\\t stash", f'r"m" -rf {slot}'):
        assert seen(command, state)
        assert client.advice("pre-tool-use", slot, tool_input={"command": command})
    assert not seen("make", state)


def test_a_state_folder_behind_a_link_and_a_slot_of_it_are_the_same_place(client: ClientHooks) -> None:
    slot = placed(client)
    moved = client.state.with_name("elsewhere")
    client.state.rename(moved)
    client.state.symlink_to(moved)
    said = client.advice(
        "pre-tool-use", moved / slot.relative_to(client.state), tool_input={"command": "git stash"}
    )
    assert "stash" in said
