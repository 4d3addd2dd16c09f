"""A server with its client on a thread of its own: several tests share it, and several threads may call."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from mcp import Client

from tests.support.client import Answer, call, client_of
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell


@dataclass(frozen=True)
class Portal:
    """Calls of the one server, from any thread."""

    shell: Shell
    client: Client
    token: trio.lowlevel.TrioToken

    @property
    def repo(self) -> ScratchRepo:
        """The repository that the server is in."""
        return self.shell.repo

    def call(self, tool: str, **arguments: Any) -> Answer:
        """Returns the structured answer of a tool that was not called wrongly."""

        async def ask() -> Answer:
            return await call(self.client, tool, **arguments)

        return trio.from_thread.run(ask, trio_token=self.token)

    def is_wrong(self, tool: str, **arguments: Any) -> bool:
        """Returns whether a call is an error in itself."""

        async def ask() -> bool:
            return (await self.client.call_tool(tool, arguments)).is_error

        return trio.from_thread.run(ask, trio_token=self.token)


@contextmanager
def serving(shell: Shell) -> Iterator[Portal]:
    """Starts a server as a client does, and ends it."""
    found: queue.Queue[Portal | BaseException] = queue.Queue()
    over = trio.Event()

    async def main() -> None:
        async with client_of(shell) as client:
            found.put(Portal(shell, client, trio.lowlevel.current_trio_token()))
            await over.wait()

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:  # noqa: BLE001 - whoever waits for the server is told
            found.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    portal = found.get(timeout=30)
    if isinstance(portal, BaseException):
        raise portal
    try:
        yield portal
    finally:
        trio.from_thread.run_sync(over.set, trio_token=portal.token)
        thread.join(timeout=30)


@dataclass
class SettledShell(Shell):
    """A user whose surroundings do not depend on the test that is under way."""

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "STRATUM_"))
        }
        return {
            **kept,
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }


def settle_in(folder: Path) -> SettledShell:
    """Returns a user in a new repository with three files."""
    home = folder / "user"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Tess Ter\n\temail = tess@example.invalid\n", encoding="utf-8"
    )
    repo = ScratchRepo.make(folder / "repo")
    repo.git("config", "user.name", "Tess Ter")
    repo.git("config", "user.email", "tess@example.invalid")
    repo.commit("first", {"a.txt": "a\n", "b.txt": "b\n", "dir/c.txt": "c\n"})
    return SettledShell(home, repo)
