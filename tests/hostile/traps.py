"""A repository in which everything that can name a program names one, and what tells whether any was run.

Each program is a file that touches a canary of its own name. What git runs by itself, without this project,
shows that the traps are sharp: ``test_the_traps_are_sharp``.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.repos import ScratchRepo

HOOKS = [
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-receive",
    "update",
    "proc-receive",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
    "pre-auto-gc",
    "post-rewrite",
    "fsmonitor-watchman",
    "post-index-change",
]

KEYS = (
    "core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "core.gitProxy", "core.askPass",
    "core.alternateRefsCommand", "sequence.editor", "diff.external", "diff.d.textconv", "diff.d.command",
    "filter.f.clean", "filter.f.smudge", "merge.m.driver", "gpg.program", "gpg.ssh.program",
    "gpg.x509.program", "credential.helper", "uploadpack.packObjectsHook", "pager.status", "pager.diff",
    "pager.log", "pager.show", "interactive.diffFilter", "trailer.t.command", "trailer.t.cmd", "web.browser",
    "browser.b.cmd", "man.viewer", "man.m.cmd", "difftool.t.cmd", "mergetool.t.cmd", "remote.origin.vcs",
    "remote.origin.uploadpack", "remote.origin.receivepack", "imap.tunnel", "sendemail.smtpServer",
    "gc.recentObjectsHook", "hook.h.command", "alias.status", "alias.cat-file", "alias.update-ref",
    "alias.for-each-ref", "alias.rev-parse", "guitool.g.cmd", "instaweb.browser", "tar.x.command",
)  # fmt: skip
"""Settings that git, some version of it, runs, or hands to a shell."""

SETTINGS = """\
[core]
    hooksPath = {place}/hooks
    attributesFile = {place}/attributes
[protocol]
    allow = always
[protocol "ext"]
    allow = always
[remote "origin"]
    url = ext::{place}/remote.ext
    promisor = true
    partialclonefilter = blob:none
[remote "shell"]
    url = ssh://example.invalid/x
    promisor = true
[extensions]
    partialClone = origin
[submodule "s"]
    url = ext::{place}/submodule.url
    update = !{place}/submodule.update
    active = true
[filter "f"]
    required = true
[log]
    showSignature = true
[commit]
    gpgSign = true
[tag]
    gpgSign = true
[merge]
    verifySignatures = true
[diff]
    submodule = diff
[status]
    submoduleSummary = true
[fetch]
    recurseSubmodules = true
[submodule]
    recurse = true
[url "ext::{place}/instead "]
    insteadOf = /
[init]
    templateDir = {place}/template
"""
ATTRIBUTES = "* filter=f diff=d merge=m\n"


@dataclass(frozen=True)
class Traps:
    """The programs, in a folder, and the canaries of those that ran."""

    place: Path

    def sprung(self) -> tuple[str, ...]:
        """Returns the names of the programs that were run."""
        return tuple(sorted(path.name for path in (self.place / "canaries").iterdir()))

    def reset(self) -> None:
        """Forgets what was run so far."""
        for path in (self.place / "canaries").iterdir():
            path.unlink()

    def program(self, name: str) -> Path:
        """Returns a program that leaves a canary."""
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        then = "exec cat" if name.startswith("filter") else "exit 1"
        path.write_text(f"#!/bin/sh\n: > '{self.place}/canaries/{Path(name).name}'\n{then}\n")
        path.chmod(0o755)
        return path

    def set_in(self, repo: ScratchRepo, keys: tuple[str, ...] = KEYS, settings: str = SETTINGS) -> None:
        """Puts every trap into the repository's own folder: settings, hooks, attributes, alternates."""
        for hook in HOOKS:
            self.program(f"hooks/{hook}")
        own = repo.path / ".git"
        for hook in HOOKS:
            path = own / "hooks" / hook
            path.parent.mkdir(exist_ok=True)
            path.write_bytes((self.place / "hooks" / hook).read_bytes())
            path.chmod(0o755)
        (self.place / "attributes").write_text(ATTRIBUTES)
        (own / "info").mkdir(exist_ok=True)
        (own / "info" / "attributes").write_text(ATTRIBUTES)
        included = self.place / "included"
        included.write_text(f"[core]\n\tfsmonitor = {self.program('included.fsmonitor')}\n")
        text = settings.format(place=self.place) + "".join(map(self._setting, keys))
        with (own / "config").open("a") as file:
            file.write(f"[include]\n\tpath = {included}\n{text}")

    def _setting(self, key: str) -> str:
        section, _, name = key.rpartition(".")
        head, _, sub = section.partition(".")
        quoted = f'[{head} "{sub}"]' if sub else f"[{head}]"
        bang = "!" if head == "alias" else ""
        return f"{quoted}\n\t{name} = {bang}{self.program(key)}\n"


def make_traps(folder: Path) -> Traps:
    """Returns traps in a folder, set in no repository yet."""
    (folder / "canaries").mkdir(parents=True)
    traps = Traps(folder)
    for name in ("remote.ext", "submodule.url", "submodule.update", "instead"):
        traps.program(name)
    (folder / "template" / "hooks").mkdir(parents=True)
    for hook in ("post-checkout", "reference-transaction"):
        (folder / "template" / "hooks" / hook).write_bytes(traps.program(f"hooks/{hook}").read_bytes())
    return traps


def hostile_repo(folder: Path, traps: Traps) -> ScratchRepo:
    """Returns a repository whose content and settings try to have programs run, and that has some dirt."""
    repo = ScratchRepo.make(folder)
    repo.git("config", "user.name", "Tess Ter")
    repo.git("config", "user.email", "tess@example.invalid")
    repo.commit(
        "first",
        {
            "a.txt": "a\n", "b.txt": "b\n", "dir/c.txt": "c\n", ".gitattributes": ATTRIBUTES,
            ".gitmodules": f'[submodule "s"]\n\tpath = s\n\turl = ext::{traps.place}/submodule.url\n',
            **{f".githooks/{hook}": f"#!/bin/sh\n: > {traps.place}/canaries/{hook}\n" for hook in HOOKS},
            **{f"hooks/{hook}": f"#!/bin/sh\n: > {traps.place}/canaries/{hook}\n" for hook in HOOKS},
        },
    )  # fmt: skip
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.head()},s")
    repo.git("commit", "-q", "-m", "with a submodule")
    traps.set_in(repo)
    # Git has to look into what has another time than its index says: that is when filters run.
    for name in ("a.txt", "b.txt", "dir/c.txt"):
        os.utime(repo.path / name, (1, 1))
    repo.write("b.txt", "changed\n")
    repo.write("new.txt", "new\n")
    return repo


def plain_git(repo: ScratchRepo, *words: str) -> None:
    """Runs git as a user would, who trusts the repository."""
    subprocess.run(["git", *words], cwd=repo.path, capture_output=True, check=False, timeout=60)
