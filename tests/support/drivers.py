"""Merge drivers to be put on PATH: one that merges imports as mergiraf would, and others that misbehave."""

from __future__ import annotations

import sys
from pathlib import Path

PATTERNS = "*.py merge=mergiraf\ngo.mod merge=mergiraf\n"

FAKE = """\
#!{python} -IS
import os, subprocess, sys, time

LOG = {log!r}
HOW = {how!r}
words = sys.argv[1:]
with open(LOG, "a") as log:
    log.write(" ".join(words) + "\\n")
if words == ["--version"]:
    print("mergiraf 9.9.9")
elif words == ["languages", "--gitattributes"]:
    print({patterns!r}, end="")
elif words[:2] == ["merge", "--git"] and words[5].startswith("--path-name="):
    base, ours, theirs = words[2:5]
    lines = [set(open(name).read().split("\\n")) for name in (base, ours, theirs)]
    merged = (lines[1] & lines[2]) | (lines[1] - lines[0]) | (lines[2] - lines[0])
    if HOW == "hangs":
        time.sleep(300)
    if HOW == "crashes":
        os.kill(os.getpid(), 11)
    if HOW == "fails":
        sys.exit(1)
    if HOW == "deletes":
        os.remove(ours)
        sys.exit(0)
    if HOW == "links":
        os.remove(ours)
        os.symlink("/etc/hostname", ours)
        sys.exit(0)
    if HOW == "writes":
        # Whatever a program can think of to reach the repository that it is about.
        own = {{name: value for name, value in os.environ.items()}}
        for words in (["config", "evil.key", "1"], ["update-ref", "refs/heads/evil", "HEAD"], ["add", "-A"]):
            subprocess.run(["git", *words], env=own, stderr=subprocess.DEVNULL)
        open(os.path.join(own.get("GIT_DIR", "."), "evil"), "w").close()
        open("../../evil", "w").close()
    text = "\\n".join(sorted(line for line in merged if line)) + "\\n"
    if HOW == "markers":
        text = "<<<<<<< ours\\n" + text + "=======\\n>>>>>>> theirs\\n"
    open(ours, "w", newline="").write(text.replace("\\n", "\\r\\n") if HOW == "ends" else text)
    print("Solved 1 conflict. Review with: mergiraf review x", file=sys.stderr)
else:
    sys.exit(2)
"""


def fake_mergiraf(folder: Path, how: str = "merges") -> Path:
    """Writes a mergiraf into *folder*; returns the log of how it was called."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "calls.log"
    program = folder / "mergiraf"
    program.write_text(FAKE.format(python=sys.executable, log=str(log), how=how, patterns=PATTERNS))
    program.chmod(0o755)
    return log


def calls(log: Path) -> list[str]:
    """Returns the verbs with which it was called."""
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []
