"""Advice before commands: where it is due, and above all where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hooks.asking import ClientHooks
from tests.hooks.placing import placed

MODELS = [
    "curl -s https://api.anthropic.com/v1/messages -d @body",
    "cd /tmp && KEY=1 curl 'https://api.openai.com/v1/responses' | jq .",
    "timeout 5 wget -qO- https://openrouter.ai/api/v1/models",
    "python -c 'import anthropic; print(anthropic.Anthropic())'",
    "python3 - <<'EOF'\nfrom openai import OpenAI\nEOF",
    "uv run python3.11 -c 'import os; import litellm'",
    'bash -c "curl https://api.anthropic.com/v1/messages"',
    "true; (litellm --model x)",
    'bash -lc "curl https://api.openai.com/v1/responses"',
    'eval "curl https://api.openai.com/v1/responses"',
    'OUT="$(curl https://api.anthropic.com/v1/messages)" && echo "$OUT"',
    "echo `curl https://api.anthropic.com/v1/messages`",
    "sudo -u bob env -i A=1 nice -n 5 curl https://api.anthropic.com/v1/messages",
    "ls | xargs -n1 curl https://api.anthropic.com/v1/messages",
    "{ curl --url=https://api.anthropic.com/v1/messages; }",
    "ls # don't\ncurl https://api.anthropic.com/v1/messages",
    'curl "$ANTHROPIC_BASE_URL/v1/messages"',
    "cat <<EOF | python3\nimport anthropic\nEOF",
    "python3 <<<'import anthropic'",
]
NO_MODELS = [
    "grep -rn api.anthropic.com docs",
    "echo 'curl https://api.anthropic.com/v1/messages'",
    "git commit -m 'curl api.openai.com by hand'",
    "pip install anthropic openai",
    "python -c 'print(\"import anthropic\")'",
    "cat <<EOF > notes.md\nimport anthropic\nEOF",
    "curl https://example.com/?q=anthropic",
    "python train.py --name openai",
    "echo \"it's",
    "cat > t.py <<EOF\nimport anthropic\nEOF\npython3 lint.py",
    "curl https://example.com/api.openai.com.html https://notapi.openai.com.example.org",
    'curl -d \'{"url": "https://api.openai.com"}\' https://example.com',
    "ls # curl https://api.anthropic.com",
    "git commit -m 'run `curl https://api.anthropic.com`'",
    "",
]
IN_SLOT = {
    "git checkout main": "off its branch",
    "git switch -c other": "off its branch",
    "git checkout -b mine": "off its branch",
    "git stash": "share the stash",
    "git stash pop": "share the stash",
    "git push --force origin HEAD": "nothing has to be pushed",
    "git branch -D stratum/f/two": "not yours to change",
    "git -C {repo} commit -am x": "changes something elsewhere",
    "cd {repo} && git reset --hard": "changes something elsewhere",
    "git --git-dir={repo}/.git commit -m x": "changes something elsewhere",
    "GIT_DIR={repo}/.git GIT_WORK_TREE={repo} git commit -m x": "changes something elsewhere",
    "pushd {repo} && git commit -am x": "changes something elsewhere",
    "ls # it's here\ncd {repo}\ngit commit -am x": "changes something elsewhere",
    "git worktree prune": "may take a task's place away",
    "git worktree add ../more": "places of their own",
    "rm -rf {slot}": "its work is not reported yet",
}
FINE_IN_SLOT = [
    "git add -A && git commit -m 'stash the push'",
    "git status; git log --oneline main; git diff main",
    "git checkout -- a.txt",
    "git checkout a.txt",
    "git checkout HEAD -- a.txt",
    "git stash list",
    "git -C {repo} log",
    "git rebase main",
    "(cd {repo} && git log); git commit -am x",
    "(cd {repo}); git commit -am x",
    "git --git-dir=.git commit -m x",
    "rm -rf {slot}/build",
    "git worktree list",
    "echo git push",
]
OUTSIDE = {
    "git worktree remove --force {slot}": "may take a task's place away",
    "git -c core.pager=cat -C {repo} worktree prune": "may take a task's place away",
    "git push --force": "tasks are under way",
    "git branch -D stratum/f/one": "`stratum-git gc` removes old ones",
    "git gc --prune=now": "may just be writing",
    "git -C {slot} stash": "share the stash",
    "cd {slot} && git checkout main": "off its branch",
}
FINE_OUTSIDE = [
    "git checkout main",
    "git stash",
    "git push",
    "git branch -D feature",
    "git worktree list",
    "git gc",
]


def said(client: ClientHooks, command: str, cwd: Path | None = None) -> str:
    return client.advice("pre-tool-use", cwd, tool_input={"command": command})


@pytest.mark.parametrize("command", MODELS)
def test_a_direct_call_of_a_model_is_told_another_way(client: ClientHooks, command: str) -> None:
    assert "calls a model directly" in said(client, command)


@pytest.mark.parametrize("command", NO_MODELS)
def test_what_only_mentions_one_is_none(client: ClientHooks, command: str) -> None:
    assert said(client, command) == ""


@pytest.mark.parametrize("command", FINE_IN_SLOT + list(IN_SLOT))
def test_where_no_task_is_under_way_git_is_free(client: ClientHooks, command: str) -> None:
    assert said(client, command.format(repo=client.repo.path, slot="/nowhere")) == ""


def test_in_the_place_of_a_task_it_is_told_what_leaves_it(client: ClientHooks) -> None:
    slot = placed(client)
    for command, words in IN_SLOT.items():
        assert words in said(client, command.format(repo=client.repo.path, slot=slot), slot), command
    for command in FINE_IN_SLOT:
        assert said(client, command.format(repo=client.repo.path, slot=slot), slot) == "", command


def test_elsewhere_only_what_reaches_it(client: ClientHooks) -> None:
    slot = placed(client)
    for command, words in OUTSIDE.items():
        assert words in said(client, command.format(repo=client.repo.path, slot=slot)), command
    for command in FINE_OUTSIDE:
        assert said(client, command.format(repo=client.repo.path, slot=slot)) == "", command


def test_it_never_decides(client: ClientHooks) -> None:
    answer = client.ask("pre-tool-use", tool_input={"command": MODELS[0]})
    assert answer.code == 0
    assert "permissionDecision" not in json.loads(answer.out)["hookSpecificOutput"]
