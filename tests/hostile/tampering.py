"""What an agent may do to its slot, and to its own folder of the repository: a script each, and how it ends.

``OTHER`` is a repository of somebody else's, in which nothing may change, ``CANARY`` a program that must not
run. All of them are done at once, as tasks of one run: none of them may disturb the others.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.repos import ScratchRepo

OWN = 'echo mine > "$STRATUM_TASK.txt"; '
ADMIN = "d=$(git rev-parse --git-dir); "
COMMIT = "git -c user.name=a -c user.email=b commit -qm z"
INNER = (
    "mkdir in; cd in; git init -q; echo b > b; git add b; " + COMMIT + "; "
    "git config core.fsmonitor CANARY; git config filter.e.clean CANARY; echo '* filter=e' > .gitattributes;"
)
WORKTREE = "git config extensions.worktreeConfig true; git config --worktree core.worktree OTHER"
FOLDER = 'd=$(dirname "$STRATUM_RESULT_FILE"); rm -rf "$d"; ln -s OTHER "$d"; echo hi'
NAMES = """echo a > ./-rf; echo b > "$(printf 'new\\nline')"; echo c > "$(printf 'esc\\033[31m')\""""
DEEP = "import os\nfor _ in range(1500):\n os.mkdir('d' * 40)\n os.chdir('d' * 40)\nopen('f', 'w').close()"

LANDED, NOTHING, REFUSED = "landed", "nothing", "refused"

DEEDS: dict[str, tuple[str, str]] = {
    "git-file": (OWN + "rm .git; echo 'gitdir: OTHER/.git' > .git", LANDED),
    "git-link": (OWN + "rm .git; ln -s OTHER/.git .git", LANDED),
    "git-pipe": (OWN + "rm .git; mkfifo .git", LANDED),
    "git-gone": (OWN + "rm .git", LANDED),
    "git-empty": (OWN + "rm .git; mkdir .git", LANDED),
    "git-own": (OWN + "rm .git; git init -q; git add -A; " + COMMIT, REFUSED),
    "slot-link": (OWN + 'p=$PWD; cd ..; mv "$p" "$p.away"; ln -s OTHER "$p"', NOTHING),
    # A slot that is a mount can be emptied, and not deleted.
    "slot-file": ('p=$PWD; cd ..; rm -rf "$p" || exit 0; echo x > "$p"', LANDED),
    "slot-gone": ('p=$PWD; cd ..; rm -rf "$p" || true', NOTHING),
    "slot-other": ('p=$PWD; cd ..; rm -rf "$p"; cp -r OTHER "$p"', REFUSED),
    "common": (OWN + ADMIN + 'echo OTHER/.git > "$d/commondir"', LANDED),
    "admin-gone": (OWN + ADMIN + 'rm -rf "$d"', LANDED),
    "head-false": (OWN + ADMIN + 'echo garbage > "$d/HEAD"', LANDED),
    "index-pipe": (OWN + ADMIN + 'rm "$d/index"; mkfifo "$d/index"', LANDED),
    "index-link": (OWN + ADMIN + 'rm "$d/index"; ln -s OTHER/.git/index "$d/index"', LANDED),
    "folder-link": (OWN + "rm -rf dir; ln -s OTHER dir; ln -s / out", LANDED),
    "pipe": (OWN + "rm b.txt; mkfifo b.txt", REFUSED),
    "odd": (OWN + "mkfifo f; mkdir d; echo a > d/f; chmod 000 d/f d", LANDED),
    "names": (OWN + NAMES, LANDED),
    "deep": (f'{OWN}python3 -c "{DEEP}"', LANDED),
    "inner": (OWN + INNER + "echo changed > b", REFUSED),
    "inner-link": (OWN + INNER + "cd ..; git add in; echo c > in/b", REFUSED),
    "inner-file": (OWN + "mkdir in; echo 'gitdir: OTHER/.git' > in/.git; echo b > in/b", REFUSED),
    "slot-config": (OWN + WORKTREE, LANDED),
    "result-pipe": (OWN + 'mkfifo "$STRATUM_RESULT_FILE"', REFUSED),
    "result-link": (OWN + 'ln -s /dev/zero "$STRATUM_RESULT_FILE"', REFUSED),
    "own-folder": (OWN + FOLDER, LANDED),
}  # fmt: skip
AS_ROOT: dict[str, tuple[str, str]] = {
    "device": (OWN + "rm a.txt; mknod a.txt c 1 5", REFUSED),
    "immutable": (OWN + "mkdir im; echo a > im/f; chattr +i im/f im", LANDED),
    "mount": (OWN + "mkdir m; mount --bind OTHER m", LANDED),
}
SLOW: dict[str, tuple[str, str]] = {
    "ignore-pipe": (OWN + "mkfifo .gitignore", LANDED),
    "attributes-pipe": (OWN + "mkdir deep; mkfifo deep/.gitattributes; echo x > deep/f", LANDED),
    "head-pipe": (OWN + ADMIN + 'rm "$d/HEAD"; mkfifo "$d/HEAD"', LANDED),
    "stopped": (OWN + "kill -STOP $$", REFUSED),
}
"""Each waits for a few seconds, and no others wait with it."""


@dataclass(frozen=True)
class Other:
    """A repository of somebody else's, with work in it that no commit has."""

    repo: ScratchRepo

    @staticmethod
    def make(path: Path) -> Other:
        repo = ScratchRepo.make(path)
        repo.git("config", "user.name", "Olga Ther")
        repo.git("config", "user.email", "olga@example.invalid")
        repo.commit("first", {"precious.txt": "precious\n", "a.txt": "another a\n", "in/d.txt": "d\n"})
        repo.write("untracked.txt", "work\n")
        repo.write("a.txt", "changed\n")
        return Other(repo)

    def look(self) -> dict[str, tuple[int, int, bytes]]:
        """Returns every file there is, its mode and its bytes."""
        found = {}
        for folder, _, names in os.walk(self.repo.path):
            for name in names:
                path = Path(folder, name)
                at = path.lstat()
                found[str(path)] = (at.st_mode, at.st_mtime_ns, path.read_bytes())
        return found


def script(deeds: dict[str, tuple[str, str]], other: Other, canary: Path) -> str:
    """Returns an agent that does the deed that its task is called after."""
    rows = (f"{name}) {deed} ;;" for name, (deed, _) in deeds.items())
    text = "case $STRATUM_TASK in\n" + "\n".join(rows) + "\nesac"
    return text.replace("OTHER", str(other.repo.path)).replace("CANARY", str(canary))


def clean_up(folder: Path) -> None:
    """Makes what was left by a deed deletable for whoever deletes the test's folder."""
    subprocess.run(["chattr", "-R", "-f", "-i", str(folder)], check=False, capture_output=True)
