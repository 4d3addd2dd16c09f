"""PreToolUse on Bash: advice, and never more than that, before a command that works past stratum-git.

It is about calls of model APIs, which no flow would know of, and about gits that take work out of its place.
A command is read as a shell reads it; what only mentions such a thing is none.
"""

from __future__ import annotations

import os
import re

from stratum_git.app.hooks.asked import NOTHING, advice
from stratum_git.app.hooks.shell import started
from stratum_git.app.hooks.tenants import slot_at, tenants
from stratum_git.git.whereabouts import resolved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratum_git.app.hooks.asked import Answer, Asked, Ground
    from stratum_git.app.hooks.shell import Started
    from stratum_git.app.hooks.tenants import Tenant

HOSTS = (
    "api.anthropic.com", "api.openai.com", "openrouter.ai", "generativelanguage.googleapis.com",
    "api.mistral.ai", "api.groq.com", "api.together.xyz", "api.deepseek.com", "api.x.ai",
    "bedrock-runtime.[a-z0-9-]+.amazonaws.com",
)  # fmt: skip
_HOST = "|".join(host.replace(".", r"\.") for host in HOSTS)
_BASE = r"\$\{?(?:ANTHROPIC|OPENAI)_(?:BASE_URL|API_BASE)\b"
URL = rf"(?:--?[\w-]+=)?(?:(?:https?://)?(?:[^/@]*@)?(?:[\w-]+\.)*(?:{_HOST})(?=[:/?#]|$)|{_BASE})"
"""Where a model is asked, at the beginning of a word: elsewhere a host is data."""
FETCHERS = frozenset({"curl", "wget", "http", "https", "xh", "httpie"})
PYTHON = r"(?:python|uv|pypy|ipython)[0-9.]*"
LIBRARY = r"(?m)(?:^|;)[ \t]*(?:import|from)[ \t]+(?:anthropic|openai|litellm)\b"
VALUED = frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--exec-path"})
LOOKING = frozenset((
    "", "blame", "branch", "cat-file", "check-ignore", "config", "describe", "diff", "fetch",
    "for-each-ref", "grep", "help", "log", "ls-files", "ls-tree", "merge-base", "name-rev",
    "range-diff", "reflog", "remote", "rev-list", "rev-parse", "shortlog", "show", "show-ref", "status",
    "tag", "var", "version", "worktree",
))  # fmt: skip
MODEL = (
    "This calls a model directly: no flow records it, budgets it or gives it a place of its own. Subagents, "
    "stratum_agent_run, or a step of a flow do the same under stratum-git."
)
FORCED = frozenset({"--force", "-f", "--mirror", "--delete", "-d"})


class _Git:
    """A git that is started: where it works, its verb, its arguments."""

    __slots__ = ("place", "verb", "words")

    def __init__(self, place: str, verb: str, words: tuple[str, ...]) -> None:
        self.place = place
        self.verb = verb
        self.words = words

    def names(self) -> list[str]:
        """Returns the arguments that are no options."""
        return [word for word in self.words if not word.startswith("-")]

    def has(self, *options: str) -> bool:
        """Returns whether one of *options* is given."""
        return any(word in options for word in self.words)


def pre_tool_use(asked: Asked) -> Answer:
    """Returns what is to be thought of before a command is run; it is run all the same."""
    said = dict.fromkeys(_advice(asked))
    return advice("PreToolUse", "\n".join(f"stratum-git: {one}" for one in said)) if said else NOTHING


def _advice(asked: Asked) -> Iterator[str]:
    ground = asked.ground
    for one in started(asked.tool("command"), asked.cwd):
        if _asks_a_model(one):
            yield MODEL
        elif one.program == "git" and ground is not None:
            yield from _about(ground, asked.cwd, _git(one))
        elif one.program == "rm" and ground is not None:
            yield from _removing(ground, one)


def _asks_a_model(one: Started) -> bool:
    if one.program == "litellm":
        return True
    if one.program in FETCHERS:
        return any(re.match(URL, word) for word in one.words)
    return re.fullmatch(PYTHON, one.program) is not None and any(
        re.search(LIBRARY, text) for text in (*one.words, one.stdin)
    )


def _git(one: Started) -> _Git:
    rest = list(one.words)
    place = one.place
    # Its own folder, and then where it is told that the repository and the files are.
    told = {"--git-dir": one.variables.get("GIT_DIR"), "--work-tree": one.variables.get("GIT_WORK_TREE")}
    while rest and rest[0].startswith("-"):
        option, _, value = rest.pop(0).partition("=")
        if option in VALUED and not value and rest:
            value = rest.pop(0)
        if option == "-C" and "$" not in value:
            place = resolved(os.path.join(place, value))
        elif option in told:
            told[option] = value
    where = told["--work-tree"] or (told["--git-dir"] or "").removesuffix("/").removesuffix("/.git")
    if where and "$" not in where and where != ".git":
        place = resolved(os.path.join(place, where))
    return _Git(place, rest[0] if rest else "", tuple(rest[1:]))


def _about(ground: Ground, cwd: str, git: _Git) -> Iterator[str]:
    here, there = _slot_at(ground, cwd), _slot_at(ground, git.place)
    if here is not None and there != here and git.verb not in LOOKING:
        yield f"you work in {here.path}; this git changes something elsewhere, in {git.place}."
    if there is not None:
        yield from _in_slot(there, git)
    elif _has_tasks(ground):
        yield from _outside(git)


def _in_slot(own: Tenant, git: _Git) -> Iterator[str]:
    """Yields what to think of in the place of a task: its result is what lies there, on its own branch."""
    name = own.task or own.step
    if git.verb == "switch" or (git.verb == "checkout" and _is_switch(git)):
        yield f"this takes the place of {name} off its branch; what is done there is its result."
    elif git.verb == "stash" and (git.names() or ["push"])[0] not in {"list", "show"}:
        yield f"all worktrees share the stash; commit in {own.path} instead, or leave changes as they are."
    elif git.verb == "push":
        yield f"nothing has to be pushed: what lies in {own.path} lands when {name} is reported."
    elif git.verb == "branch" and git.has("-D", "-d", "-m", "-M", "-f", "--delete", "--move", "--force"):
        yield "branches are shared by all worktrees; those of other tasks are not yours to change."
    else:
        yield from _of_worktrees(git)


def _outside(git: _Git) -> Iterator[str]:
    """Yields what to think of elsewhere in a repository while tasks are under way."""
    if git.verb == "push" and git.has("--force", "-f", "--mirror"):
        yield "tasks are under way here; a forced push may take from others what results are to land on."
    elif git.verb == "branch" and git.has("-D", "-d", "--delete", "-f", "--force", "-M", "-m"):
        if any(name.startswith("stratum/") for name in git.names()):
            yield "branches below stratum/ are those of tasks; `stratum-git gc` removes old ones."
    elif git.verb == "prune" or (git.verb == "gc" and any(word.startswith("--prune") for word in git.words)):
        yield "tasks are under way here, and may just be writing what a prune deletes."
    else:
        yield from _of_worktrees(git)


def _of_worktrees(git: _Git) -> Iterator[str]:
    if git.verb != "worktree" or not git.words:
        return
    if git.words[0] in {"remove", "move", "prune", "repair", "unlock"}:
        yield f"`git worktree {git.words[0]}` may take a task's place away, with its work; report the task."
    elif git.words[0] == "add":
        yield "tasks have places of their own; what is done in another worktree is part of no result."


def _removing(ground: Ground, one: Started) -> Iterator[str]:
    for word in one.words:
        if word.startswith("-") or "$" in word:
            continue
        place = resolved(os.path.join(one.place, word))
        own = _slot_at(ground, place)
        if own is not None and place == own.path:
            yield f"{place} is the place of {own.task or own.step}; its work is not reported yet."


def _is_switch(git: _Git) -> bool:
    """Returns whether a checkout changes the branch, and no files."""
    if git.has("-b", "-B", "--orphan", "--detach", "-d"):
        return True
    return (
        "--" not in git.words
        and len(git.names()) == 1
        and not os.path.exists(os.path.join(git.place, git.names()[0]))
    )


def _slot_at(ground: Ground, place: str) -> Tenant | None:
    """Returns the task whose slot *place* is in."""
    found = slot_at(ground, place)
    return None if found is None or found.flow.startswith("-") else found


def _has_tasks(ground: Ground) -> bool:
    return any(not tenant.flow.startswith("-") for tenant in tenants(ground))
