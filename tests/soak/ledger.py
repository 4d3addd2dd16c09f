"""The ledger: (state of a slot) x (way of ending), and every byte is had back.

    python -m tests.soak.ledger [--count N]

Each state is a script that an agent runs in its slot. It notes what it made: a copy of its files, and the ids
of objects that must not be lost. Then its attempt is ended; everything that could still hold the work by
chance (slots, reflogs, unreachable objects, the stash) is deleted; and what salvage gives is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from stratum_git.app.salvage import survey, to_folder
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import StratumError
from stratum_git.model.ids import FlowId, Json
from stratum_git.slots.mounts import detach
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell

PROLOGUE, *_SECTIONS = (Path(__file__).parent / "slot_states.sh").read_text().split("### ")
STATES: dict[str, str] = dict(section.split("\n", 1) for section in _SECTIONS)
FILES = {".gitignore": "*.o\n", "a.txt": "a\n", "b.txt": "b\n", "dir/c.txt": "c\n"}
NORMAL = ("line-ends", "filter", "ident")
"""States whose files git keeps in another form. Of a result that form is what was wanted."""
EPILOGUE = """
if [ -d "$HOME/evidence/shut-$STRATUM_TASK" ]; then
    chmod 700 shut shut/in; cp -a . "$E/files"; chmod 0 shut/in shut; chmod 600 "$E/files/shut/t"
else
    cp -a . "$E/files"
fi
rm -rf "$E/files/.git"
touch "$E/ready"
. "$HOME/ending"
"""
SPEC = """\
version: "0.4"
flows:
  main:
    input: {{tasks: {{type: array}}}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {{task.id}}"
        isolation: {isolation}
        max_concurrent: {width}
        require: 1
        on_quorum: keep
        timeout: {timeout}
{more}
"""
LATER = "sleep 300"
ENDINGS = {
    "fails": "exit 1",
    "succeeds": "exit 0",
    "fails its verify": "exit 0",
    "times out": LATER,
    "is cancelled": LATER,
    "is interrupted": LATER,
    "is killed": LATER,
}


def play(shell: Shell, ending: str, isolation: str, states: Sequence[str], timeout: int = 60) -> list[str]:
    """Brings slots into *states*, ends their attempts, and returns what of it was lost, in words."""
    _prepare(shell, ending, states)
    more = '        verify: "false"' if ending == "fails its verify" else ""
    width = len(states) if ENDINGS[ending] == LATER else 4
    limit = timeout if ending == "times out" else 600
    spec = shell.spec(SPEC.format(isolation=isolation, width=width, timeout=limit, more=more))
    tasks: list[Json] = [{"id": state} for state in states]
    words = ("run", spec, shell.tasks(*tasks), "--quiet")
    process = shell.start(*words)
    if ENDINGS[ending] == LATER and ending != "times out":
        _await(process, [shell.home / "evidence" / state / "ready" for state in states])
    _end(shell, process, ending)
    assert shell.run("query", "flow", shell.flow()).json()["status"] != "running"  # type: ignore[call-overload, index]
    _clear(shell)
    return _losses(shell, ending, states)


def main() -> int:
    """Plays the whole table, several times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1)
    count = parser.parse_args().count
    begun, lost, played = time.monotonic(), [], 0
    for _ in range(count):
        for isolation in ("worktree", "branch"):
            for ending in ENDINGS:
                found = in_scratch(partial(play, ending=ending, isolation=isolation, states=list(STATES)))
                played += len(STATES)
                lost += [f"{isolation}, {ending}: {what}" for what in found]
                print(f"{isolation}, {ending}: {len(STATES)} states, {len(found)} lost", file=sys.stderr)
    for what in lost:
        print(what, file=sys.stderr)
    seconds = round(time.monotonic() - begun, 1)
    row = {"what": "states of slots by ways of ending", "states": len(STATES), "endings": len(ENDINGS)}
    print(json.dumps({**row, "attempts": played, "lost": len(lost), "seconds": seconds}))
    return 1 if lost else 0


def in_scratch(work: Callable[[Shell], list[str]]) -> list[str]:
    """Returns what *work* says of a scratch repository of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "user"
        home.mkdir()
        settings = "[user]\n\tname = Tess Ter\n\temail = tess@example.invalid\n"
        (home / "gitconfig").write_text(settings)
        os.environ.update(GIT_CONFIG_GLOBAL=str(home / "gitconfig"), GIT_CONFIG_NOSYSTEM="1")
        scratch = ScratchRepo.make(Path(folder) / "repo")
        return work(Shell(home, scratch))


def _prepare(shell: Shell, ending: str, states: Sequence[str]) -> None:
    shell.repo.commit("before", {"a.txt": "first\n"})
    shell.repo.commit("files", FILES)
    subprocess.run(["git", "init", "-q", "--bare", str(shell.home / "scratch.git")], check=True)
    (shell.home / "evidence").mkdir()
    (shell.home / "ending").write_text(ENDINGS[ending] + "\n")
    shell.unfenced_agent(f'{PROLOGUE}\n. "$HOME/states/$STRATUM_TASK"\n{EPILOGUE}')
    for state in states:
        shell.file(f"states/{state}", STATES[state].replace(" other", " other-$STRATUM_TASK") + "\n")


def _await(process: subprocess.Popen[str], paths: Sequence[Path]) -> None:
    deadline = time.monotonic() + 300
    while not all(path.exists() for path in paths):
        missing = [str(path) for path in paths if not path.exists()]
        assert time.monotonic() < deadline, missing
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def _end(shell: Shell, process: subprocess.Popen[str], ending: str) -> None:
    if ending == "is cancelled":
        shell.run("cancel", shell.flow(), timeout=300)
    if ending in {"is interrupted", "is killed"}:
        process.send_signal(signal.SIGINT if ending == "is interrupted" else signal.SIGKILL)
    _, said = process.communicate(timeout=600)
    assert process.returncode in {0, 1, 130, -signal.SIGKILL}, said
    if ending in {"is interrupted", "is killed"}:
        done = shell.run("resume", shell.flow(), "--quiet", timeout=600)
        assert done.code in {0, 1}, done


def _clear(shell: Shell) -> None:
    """Deletes whatever could hold the work by chance."""
    for slots in (shell.home / "state").glob("stratum-git/*/slots"):
        detach(slots)
        shutil.rmtree(slots)
    shutil.rmtree(shell.repo.path / ".git" / "worktrees", ignore_errors=True)
    for ref in ("refs/stash", *shell.repo.git("for-each-ref", "--format=%(refname)", "refs/heads").split()):
        if ref != "refs/heads/main":
            shell.repo.git("update-ref", "-d", ref)
    shell.repo.git("reflog", "expire", "--expire=now", "--all")
    shell.repo.git("gc", "-q", "--prune=now")


def _losses(shell: Shell, ending: str, states: Sequence[str]) -> list[str]:
    listed = shell.repo.git("rev-list", "--objects", "--no-object-names", "--glob=refs/stratum/*")
    reached = set(listed.split())
    found = [f"fsck: {line}" for line in shell.repo.git("fsck", "--no-dangling").splitlines()]
    is_result = ending == "succeeds"
    for state in (state for state in states if not (is_result and state in NORMAL)):
        evidence = shell.home / "evidence" / state
        assert (evidence / "ready").exists(), f"{state} was not reached"
        wanted = (evidence / "objects").read_text().split()
        found += [f"{state}: object {oid} is lost" for oid in wanted if oid not in reached]
        found += [f"{state}: {what}" for what in _differences(shell, shell.flow(), state, evidence / "files")]
    return found


def _differences(shell: Shell, flow: str, state: str, files: Path) -> list[str]:
    into = shell.home / "had-back" / state
    wanted = _files(files)
    try:
        done = to_folder(
            survey(Surroundings(shell.repo.path, shell.environment), FlowId(flow), state),
            into,
            1,
            staged=False,
        )
    except StratumError as error:
        untouched = {name: (0, data.encode()) for name, data in FILES.items()}
        return [] if wanted == untouched else [f"cannot be had back: {error.message}"]
    got = _files(into)
    lost = _inner_lost(files.with_name("inner"), got)
    for name in [name for name in got if name.startswith(("slot-", "clone-"))]:
        # A slot that git could not read was kept whole.
        own = name.partition("/")
        if not own[0].endswith(".git"):
            got[own[2]] = got[name]
        del got[name]
    if not done.commit:
        # Nothing was changed that git saw: what was there before is not told again.
        got = {**{name: (0, data.encode()) for name, data in FILES.items()}, **got}
    got = {
        name: fact
        for name, fact in got.items()
        if not name.startswith((".git/", "replaced.git/")) and name != ".git"
    }
    names = {*wanted, *got}
    return [*lost, *(f"{name!r} differs" for name in sorted(names) if wanted.get(name) != got.get(name))]


def _inner_lost(branch: Path, got: Mapping[str, tuple[int, bytes]]) -> list[str]:
    """Returns whether the repository that an agent made in place of the slot's own is not had back."""
    if not branch.exists():
        return []
    had = [data for name, (_, data) in got.items() if name.endswith(".git/refs/heads/main")]
    return [] if branch.read_bytes() in had else ["the repository in place of the slot's own is lost"]


def _files(top: Path) -> dict[str, tuple[int, bytes]]:
    """Returns the files below a folder: whether one is a program or a link, and its bytes."""
    found = {}
    for root, folders, names in os.walk(top):
        for name in (*names, *(name for name in folders if (Path(root) / name).is_symlink())):
            path = Path(root) / name
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[os.path.relpath(path, top)] = (2, os.fsencode(path.readlink()))
            elif not name.endswith(".o"):
                found[os.path.relpath(path, top)] = (int(bool(mode & 0o100)), path.read_bytes())
    return found


if __name__ == "__main__":
    sys.exit(main())
