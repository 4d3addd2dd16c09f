"""Which of the programs that a repository's settings name git may start for us.

Settings name filters, merge drivers, the command that reaches a remote. Those that were there when a run
began are its user's, who asked for the run: files are checked out with them. What came later an agent wrote,
into settings that all worktrees share, and git would start it outside of the agent's tether. So whatever is
not as it was is put out of action for each git that may start one. A verb that only looks trusts nothing
but the user's own settings, outside of the repository.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from stratum_git.errors import HostError
from stratum_git.git.files import read_pointer
from stratum_git.model.values import dataclass, field

HARMLESS = frozenset(
    {
        "--version", "cat-file", "check-ref-format", "clone", "config", "diff-tree", "fetch", "for-each-ref",
        "hash-object", "ls-tree", "merge-base", "remote", "rev-list", "rev-parse", "symbolic-ref",
        "update-ref", "var", "worktree",
    }
)  # fmt: skip
"""What looks at no file of a checkout. The rest may: even ``write-tree`` compares files before it writes."""
LOOKING = frozenset({"diff"})
"""What looks at files for somebody who only looks."""

NAMED = re.compile(
    r"(?P<driver>(?P<kind>filter|merge)\..+)\.(?:clean|smudge|process|required|driver)", re.DOTALL
)
MERGING = re.compile(r"merge\..+\.driver|core\.attributesfile", re.DOTALL)
REACHING = re.compile(
    r"core\.(?:sshcommand|gitproxy|askpass)|credential\..*|remote\..*|url\..*|protocol\..*|ssh\..*|"
    r"extensions\.partialclone",
    re.DOTALL,
)
"""Settings that decide what is started to reach a remote."""
INCLUDES = re.compile(r"include(?:if\..*)?\.path", re.DOTALL)
OF_THE_REPOSITORY = frozenset({"local", "worktree"})
FILTER: Mapping[str, str] = {"clean": "", "smudge": "", "process": "", "required": "false"}
PLAIN_MERGE: Mapping[str, str] = {"driver": "git merge-file --marker-size=%L %A %O %B"}
"""What git does without a driver. One without a command would keep our side, and call that a merge."""

LINK = b"\0\0\xe0\0"
"""The mode of a link to another repository, as an index of any version has it."""
PADDED = (b"DIRC\0\0\0\2", b"DIRC\0\0\0\3")
"""How an index begins in which each entry has a whole number of eight bytes: modes are where others are."""
ANYWHERE = {"GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
"""For a partial clone, whose missing files git fetches as it checks them out. Never ``ext``, a shell."""

REMEMBERED = 256
_linked: dict[tuple[int, ...], bool] = {}

Ask: TypeAlias = Callable[..., bytes]
Sign: TypeAlias = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """An entry of a configuration, and where it is from."""

    scope: str
    origin: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Trusted:
    """The settings of a repository when a run began; ``files`` are those that they were read from."""

    settings: tuple[Setting, ...]
    files: tuple[Path, ...]
    sign: Sign


@dataclass
class Trust:
    """What this process trusts, by the folder that all checkouts of a repository share."""

    _known: dict[Path, Trusted] = field(default_factory=dict)
    _quieted: dict[tuple[Path, Sign], dict[str, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, common: Path, root: Path, ask: Ask) -> None:
        """Trusts what the settings of a repository name now, once and for all of this process."""
        with self._lock:
            if common.resolve() not in self._known:
                settings = listed(ask, root)
                files = tuple(_files(settings, common))
                self._known[common.resolve()] = Trusted(settings, files, _sign(files))

    def environment(self, verb: str, cwd: Path, ask: Ask) -> dict[str, str]:
        """Returns what keeps a git that does *verb* in *cwd* from starting what is not trusted."""
        if verb in HARMLESS:
            return {}
        own, common = places(cwd)
        if own is None or common is None:
            return {}
        # Settings can lead git to another place than the one it is started in.
        place = {"GIT_WORK_TREE": str(cwd)}
        known = None if verb in LOOKING else self._known.get(common)
        if known is None and verb not in LOOKING:
            return place  # no run has begun, so nobody else was at work here
        extra = (own / "config.worktree",)
        nested = nested_in(cwd, own / "index") if cwd != common.parent else ()
        if nested:
            return place | self._found(cwd, known, ask, nested)
        if known is not None and _sign(known.files) == known.sign and not _sign(extra):
            return place | (ANYWHERE if _is_partial(known.settings) else {})
        files = (*(known.files if known is not None else (common / "config",)), *extra)
        return place | self._quiet(verb, cwd, files, known, ask)

    def merging(self, cwd: Path, ask: Ask) -> dict[str, str]:
        """Returns the settings for merges that name files: drivers that a git would start, and attributes."""
        own, common = places(cwd)
        known = None if common is None else self._known.get(common)
        if known is None:
            rows = _last(listed(ask, cwd))
        elif own is not None and _sign(known.files) == known.sign and not _sign((own / "config.worktree",)):
            rows = _last(known.settings)
        else:
            now = listed(ask, cwd)
            rows = _last(now) | quieted(now, known.settings)
        return {key: value for key, value in rows.items() if MERGING.fullmatch(key)}

    def sign(self, cwd: Path) -> Sign | None:
        """Returns what changes when a file with settings for *cwd* does, where a run has begun."""
        own, common = places(cwd)
        known = None if common is None else self._known.get(common)
        if own is None or known is None:
            return None
        return _sign((*known.files, own / "config.worktree"))

    def _quiet(
        self, verb: str, cwd: Path, files: tuple[Path, ...], known: Trusted | None, ask: Ask
    ) -> dict[str, str]:
        key = (cwd / verb, _sign(files))
        found = self._quieted.get(key) if known is not None else None
        if found is None:
            found = self._quieted[key] = self._found(cwd, known, ask, ())
        return found

    def _found(self, cwd: Path, known: Trusted | None, ask: Ask, nested: Iterable[Path]) -> dict[str, str]:
        now, before = listed(ask, cwd), () if known is None else known.settings
        inner = [setting for path in nested for setting in listed(ask, path)]
        found = as_environment(quieted((*now, *inner), before))
        if known is not None and _is_partial(before) and _reaching(now) == _reaching(before):
            found |= ANYWHERE
        return found


def listed(ask: Ask, cwd: Path) -> tuple[Setting, ...]:
    """Returns the settings that hold in *cwd*, whatever file they are from."""
    try:
        fields = ask(cwd, "config", "--list", "-z", "--show-scope", "--show-origin").split(b"\0")
    except HostError:
        # There git will not start anything either.
        return ()
    texts = [one.decode("utf-8", "surrogateescape") for one in fields]
    rows = zip(texts[::3], texts[1::3], texts[2::3], strict=False)
    return tuple(Setting(scope, origin, *_entry(entry)) for scope, origin, entry in rows)


def quieted(now: Iterable[Setting], before: Iterable[Setting]) -> dict[str, str]:
    """Returns what has to be set so that no filter or driver is one that *before* did not have.

    What is outside of the repository is the user's own, and stays.
    """
    rows = tuple(now)
    wanted = _effective(s for s in (*rows, *before) if s.scope not in OF_THE_REPOSITORY)
    wanted |= _effective(before)
    found: dict[str, str] = {}
    for setting in rows:
        named = NAMED.fullmatch(setting.key)
        if named is not None and setting.value != wanted.get(setting.key):
            plain = FILTER if named["kind"] == "filter" else PLAIN_MERGE
            names = {f"{named['driver']}.{name}": quiet for name, quiet in plain.items()}
            found |= {name: wanted.get(name, quiet) for name, quiet in names.items()}
    return found


def as_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Returns settings as git takes them from its environment, where a name may have any character."""
    found = {"GIT_CONFIG_COUNT": str(len(settings))} if settings else {}
    for number, (key, value) in enumerate(settings.items()):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def nested_in(checkout: Path, index: Path) -> tuple[Path, ...]:
    """Returns the repositories inside of a checkout, if its index speaks of any: git looks into these."""
    try:
        facts = index.stat()
        # Slots of one base share one file, and there is a git or two for each of them.
        sign = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        if not _has_links(index, sign):
            return ()
    except OSError:
        return ()
    found = []
    for folder, folders, names in os.walk(checkout):
        if folder != str(checkout) and (".git" in folders or ".git" in names):
            found.append(Path(folder))
        folders[:] = [name for name in folders if name != ".git"]
    return tuple(found)


def _has_links(index: Path, sign: tuple[int, ...]) -> bool:
    """Returns whether an index speaks of other repositories; *sign* is what changes when the file does."""
    found = _linked.get(sign)
    if found is None:
        found = _may_have_links(index.read_bytes())
        if len(_linked) >= REMEMBERED:
            _linked.clear()
        _linked[sign] = found
    return found


def _may_have_links(data: bytes) -> bool:
    """Returns whether a mode in an index may be that of a link."""
    is_padded, rare = data.startswith(PADDED), LINK[2:3]
    at = data.find(rare)
    while at >= 0:
        # The number of a file, or its size, may look the same: such are four bytes apart from any mode.
        if data[at - 2 : at + 2] == LINK and (not is_padded or at % 8 == 6):
            return True
        at = data.find(rare, at + 1)
    return False


def places(cwd: Path) -> tuple[Path | None, Path | None]:
    """Returns the git directory of the checkout *cwd*, and the one that it shares with others."""
    marker = cwd / ".git"
    try:
        if marker.is_dir():
            own = marker.resolve()
        else:
            own = (cwd / read_pointer(marker).removeprefix("gitdir: ")).resolve()
        shared = own / "commondir"
        return own, (own / read_pointer(shared)).resolve() if shared.exists() else own
    except (OSError, RuntimeError, ValueError):
        return None, None


def _effective(settings: Iterable[Setting]) -> dict[str, str]:
    """Returns the last value of each key, which is the one that git takes."""
    return {key: value for key, value in _last(settings).items() if NAMED.fullmatch(key)}


def _last(settings: Iterable[Setting]) -> dict[str, str]:
    return {s.key: s.value for s in settings}


def _reaching(settings: Iterable[Setting]) -> tuple[tuple[str, str], ...]:
    return tuple((s.key, s.value) for s in settings if REACHING.fullmatch(s.key))


def _is_partial(settings: Iterable[Setting]) -> bool:
    return any(s.key == "extensions.partialclone" or s.key.endswith(".promisor") for s in settings)


def _entry(entry: str) -> tuple[str, str]:
    key, line, value = entry.partition("\n")
    return key, value if line else "true"


def _files(settings: Iterable[Setting], common: Path) -> Iterator[Path]:
    """Yields the files that settings are from, or would be from if they were there."""
    found = {common / "config": None}
    for setting in settings:
        origin = setting.origin.removeprefix("file:")
        if origin == setting.origin:
            continue
        # Relative to where git was asked, which is the top of the checkout.
        place = Path(origin) if origin.startswith("/") else common.parent / origin
        found[place] = None
        if INCLUDES.fullmatch(setting.key):
            found[place.parent / Path(setting.value).expanduser()] = None
    yield from found


def _sign(files: Iterable[Path]) -> Sign:
    """Returns what changes when a file does: which it is, its size and its times. None for one not there."""
    found = []
    for path in files:
        try:
            at = path.stat()
        except (OSError, ValueError):
            continue
        found.append((str(path), at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns))
    return tuple(found)
