"""All checks together. It changes nothing; what takes time is asked at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from stratum_git.app.config import read_config
from stratum_git.app.doctor import clients, machine, repository, settings, slots
from stratum_git.app.doctor.finding import Finding
from stratum_git.app.doctor.hooks import hooks
from stratum_git.app.doctor.installed import installed
from stratum_git.app.doctor.leftovers import leftovers
from stratum_git.app.doctor.running import running
from stratum_git.app.doctor.servers import servers
from stratum_git.app.places import folders_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import StratumError
from stratum_git.git.repository import Repository

Check = tuple[str, Callable[[], Iterable[Finding]]]
AT_ONCE = 8


def examine(around: Surroundings) -> tuple[Finding, ...]:
    """Returns what every check came to; those that need a repository are left out where there is none."""
    repos: list[Repository] = []

    def opened() -> Iterator[Finding]:
        repos.append(around.repository())
        yield Finding("repository", "ok", str(repos[0].root))

    found = [
        *_guarded("program", machine.program),
        *_guarded("git", machine.git),
        *_guarded("repository", opened),
    ]
    repo = repos[0] if repos else None
    if repo is not None:
        # Before there are threads: one way is tried by a child.
        found += _guarded("slots", partial(_ways, around, repo))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        slow = [pool.submit(_guarded, *check) for check in _asked(around, repo)]
        for check in [] if repo is None else _looked(around, repo):
            found += _guarded(*check)
        found += _in_order(slow)
    return tuple(found)


def _ways(around: Surroundings, repo: Repository) -> Iterator[Finding]:
    config = read_config(repo.root)
    yield from slots.ways(folders_of(around, repo, config), config)


def _looked(around: Surroundings, repo: Repository) -> list[Check]:
    """Returns the checks that only read; one after the other is quick enough."""

    def of_settings() -> Iterator[Finding]:
        config = read_config(repo.root)
        yield from settings.agents(around, repo, config)
        yield from settings.room(folders_of(around, repo, config))

    def left() -> Iterator[Finding]:
        yield from leftovers(repo, folders_of(around, repo, read_config(repo.root)))

    return [
        ("head", partial(repository.head, repo)),
        ("repository", partial(repository.kind, repo)),
        ("settings", of_settings),
        ("leftovers", left),
        ("running", partial(running, repo)),
    ]


def _asked(around: Surroundings, repo: Repository | None) -> list[Check]:
    """Returns the checks that start programs, ours and clients, or read much."""
    return [
        ("MCP server", partial(servers, around, repo)),
        ("hooks", partial(hooks, around, repo)),
        *((f"client {name}", partial(clients.client, name, around, repo)) for name in clients.CLIENTS),
        *((f"login of {name}", partial(clients.login, name, around, repo)) for name in clients.CLIENTS),
        ("installed", partial(installed, around, repo)),
    ]


def _in_order(futures: Iterable[Future[list[Finding]]]) -> Iterator[Finding]:
    for future in futures:
        yield from future.result()


def _guarded(check: str, work: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(work())
    except StratumError as error:
        return [Finding(check, "fail", error.message, error.hint)]
    except OSError as error:
        return [Finding(check, "fail", str(error))]
