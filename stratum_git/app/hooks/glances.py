"""Whether a hook can have anything to say at all: seen in a moment, before what says it is loaded.

What is said to matter may turn out to be nothing; what is said not to matter is nothing for certain
(``tests/hooks/test_glances.py``). Paths are texts here, and nothing is loaded that takes time.
"""

from __future__ import annotations

import os

from stratum_git.app.home import state_home
from stratum_git.git.whereabouts import Checkout, checkout_at, key_of, resolved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SPEC = ".stratum.yaml"
CONFIG = ".stratum/config.yaml"
MEMORY = ".claude/memory/MEMORY.md"
FLOWS = "refs/stratum/flows"
MODELS = (
    "litellm", "anthropic", "openai", "ANTHROPIC_", "OPENAI_", "openrouter.ai",
    "generativelanguage.googleapis.com", "api.mistral.ai", "api.groq.com", "api.together.xyz",
    "api.deepseek.com", "api.x.ai", "bedrock-runtime.",
)  # fmt: skip
"""One of these is in each command that asks a model."""
QUOTES = str.maketrans("", "", "\\\"'")


class Glance:
    """A call of a hook, as far as a glance goes: ``state`` is the folder of the repository's slots and logs.

    ``checkout`` and ``state`` are ``None`` outside of repositories.
    """

    __slots__ = ("checkout", "row", "state")

    def __init__(self, row: Mapping[str, object], checkout: Checkout | None, state: str | None) -> None:
        self.row = row
        self.checkout = checkout
        self.state = state

    def tool(self, key: str) -> str:
        """Returns a text out of what the tool was given."""
        given = self.row.get("tool_input")
        value = given.get(key) if isinstance(given, dict) else None
        return value if isinstance(value, str) else ""


def may_matter(module: str, seen: Glance) -> bool:
    """Returns whether *module* has to be loaded for what was asked."""
    return GLANCES[module](seen)


def glance_of(row: Mapping[str, object], cwd: str, environment: Mapping[str, str]) -> Glance | None:
    """Returns what is seen of a call in *cwd*; ``None`` where settings have to be read for it."""
    checkout = standing(cwd, environment)
    if checkout is None:
        return Glance(row, None, None)
    if settled_in(checkout.root):
        return None
    return Glance(row, checkout, home_of(checkout, state_home(environment)))


def standing(cwd: str, environment: Mapping[str, str]) -> Checkout | None:
    """Returns the checkout that a hook is about.

    That is the one where the session began, if the call comes from another one of the same repository: the
    server reads its settings there.
    """
    here = checkout_at(cwd)
    began = environment.get("CLAUDE_PROJECT_DIR", "")
    there = checkout_at(began) if began.startswith("/") and here is not None else None
    if here is not None and there is not None and there.common_dir == here.common_dir:
        return there
    return here


def settled_in(root: str) -> bool:
    """Returns whether the settings of a checkout may say where slots lie; then they have to be read."""
    return b"slots" in _read(os.path.join(root, CONFIG))


def home_of(checkout: Checkout, states: str) -> str:
    """Returns the folder of a repository's state where no settings say otherwise."""
    key = key_of(checkout.common_dir)
    above = os.path.dirname(checkout.root)
    if os.path.basename(above) == "slots" and os.path.basename(os.path.dirname(above)) == key:
        # A slot lies in it, wherever the settings of the main checkout have it.
        return os.path.dirname(above)
    return resolved(os.path.join(states, "stratum-git", key))


def _begins(seen: Glance) -> bool:
    """Returns whether there may be flows to tell of, or a memory of the project's."""
    checkout = seen.checkout
    if checkout is None:
        return False
    common = checkout.common_dir
    tops = (checkout.root, os.path.dirname(common))
    return (
        any(os.path.lexists(os.path.join(top, MEMORY)) for top in tops)
        or os.path.lexists(os.path.join(common, "reftable"))
        or bool(_names(os.path.join(common, FLOWS)))
        or FLOWS.encode() in _read(os.path.join(common, "packed-refs"))
    )


def _stopping(seen: Glance) -> bool:
    return seen.row.get("stop_hook_active") is not True and _was_given_work(seen)


def _sweeping(seen: Glance) -> bool:
    state = seen.state
    return state is not None and any(
        name.endswith(".json") for name in _names(os.path.join(state, "worktrees"))
    )


def _failures(seen: Glance) -> bool:
    if seen.state is None or seen.row.get("is_interrupt") is True:
        return False
    return _has_tenants(seen) or _was_given_work(seen)


def _was_given_work(seen: Glance) -> bool:
    """Returns whether it may be noted that this session was given something."""
    session = seen.row.get("session_id")
    if seen.state is None or not isinstance(session, str) or not session or "/" in session:
        return False
    return os.path.isdir(os.path.join(seen.state, "clients", session))


def _commands(seen: Glance) -> bool:
    # A word of a command is in its text, but for what a shell takes off.
    command = seen.tool("command").translate(QUOTES)
    if any(name in command for name in MODELS):
        return True
    return ("git" in command or "rm" in command) and _has_tenants(seen)


def _has_tenants(seen: Glance) -> bool:
    """Returns whether somebody's work lies in a slot."""
    if seen.state is None:
        return False
    slots = os.path.join(seen.state, "slots")
    # A record may be a pipe that nobody writes to: whoever loads what reads it has a deadline for that.
    return any(
        name.endswith(".json") and b'"occupant"' in _read(os.path.join(slots, name)) for name in _names(slots)
    )


def _always(_: Glance) -> bool:
    return True


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


GLANCES: Mapping[str, Callable[[Glance], bool]] = {
    "beginning": _begins,
    "sweeping": _sweeping,
    "stopping": _stopping,
    "commands": _commands,
    "specs": lambda seen: seen.tool("file_path").endswith(SPEC),
    "failures": _failures,
    "subagents": _has_tenants,
    "departures": _has_tenants,
    "worktrees": _always,
}
