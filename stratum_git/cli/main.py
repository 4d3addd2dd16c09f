"""Where the program starts: answers what is asked often and at once, and loads the rest for everything else.

A client calls a hook before each command of its own, and a person waits for ``--help``. These load no
``argparse``, ``dataclasses`` or ``pathlib``, which take as long as the interpreter itself
(``tests/surface/test_start.py``).
"""

from __future__ import annotations

import os
import sys

from stratum_git import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

YES, INTERRUPTED = 0, 130

VERBS: dict[str, tuple[str, str, str]] = {
    # verb: (module, one line, example)
    "run": ("running", "Runs a flow and lands results.", "stratum-git run SPEC --agent default='claude -p'"),
    "validate": ("checking", "Checks specs and names every problem.", "stratum-git validate *.stratum.yaml"),
    "estimate": ("estimating", "Says what a flow will do and take.", "stratum-git estimate SPEC --input K=V"),
    "compile": ("writing", "Makes a spec of task files.", "stratum-git compile specs/tasks --parallel"),
    "migrate": ("writing", "Rewrites a spec in another version.", "stratum-git migrate old.stratum.yaml"),
    "query": ("querying", "Tells what is going on, as JSON.", "stratum-git query flow docs-1a2b3c"),
    "log": ("history", "Shows the history of a flow.", "stratum-git log docs-1a2b3c"),
    "diff": ("reading", "Shows what a task changed.", "stratum-git diff docs-1a2b3c api"),
    "logs": ("reading", "Shows what an agent printed.", "stratum-git logs docs-1a2b3c api --attempt 1"),
    "conflicts": ("conflicts", "Shows what conflicts.", "stratum-git conflicts docs-1a2b3c api"),
    "salvage": ("salvaging", "Has back what an attempt left.", "stratum-git salvage docs-1a2b3c api"),
    "shell": ("shelling", "Enters the slot of an attempt.", "stratum-git shell docs-1a2b3c api -- make test"),
    "land": ("landing", "Lands what a flow has left.", "stratum-git land docs-1a2b3c --dry-run"),
    "undo": ("landing", "Takes what a flow landed off its target.", "stratum-git undo docs-1a2b3c --dry-run"),
    "resolve": ("resolving", "Resolves a conflict by hand.", "stratum-git resolve docs-1a2b3c api"),
    "gc": ("collecting", "Removes what old flows left.", "stratum-git gc --older-than 30d --dry-run"),
    "resume": ("running", "Takes a flow up where it stands.", "stratum-git resume docs-1a2b3c"),
    "cancel": ("running", "Stops a flow, or one task of it.", "stratum-git cancel docs-1a2b3c api"),
    "session": ("sessions", "Has one agent do something.", "stratum-git session run 'mend the build'"),
    "mcp": ("serving", "Serves an MCP client on standard input.", "stratum-git mcp"),
    "install": ("installing", "Puts it where your client looks.", "stratum-git install --dry-run"),
    "uninstall": ("installing", "Takes it out of your client again.", "stratum-git uninstall"),
    "doctor": ("examining", "Looks whether all is well.", "stratum-git doctor"),
    "hook": ("answering", "Answers a hook of the client's.", "stratum-git hook stop < event.json"),
    "gate": ("deciding", "Decides at a gate.", "stratum-git gate approve docs-1a2b3c review"),
}  # fmt: skip
ABOUT = """\
usage: stratum-git [-h] [--version] VERB ...

Fans a task graph out to parallel agents in worktrees and lands one verified
history.

verbs:
{verbs}

options:
  -h, --help  show this help message and exit
  --version   show program's version number and exit

`stratum-git VERB --help` explains a verb. Exit codes: 0 yes, 1 no, 2 asked
wrongly or conflict, 3 the world failed, 70 a bug, 130 interrupted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line *argv* and returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv is None and arguments[:1] in (["hook"], ["query"]):
            _spare()
        if len(arguments) == 2 and arguments[0] == "hook" and not arguments[1].startswith("-"):
            from stratum_git.cli.answering import answer_hook
            from stratum_git.cli.variables import environment

            return _left(answer_hook(arguments[1], environment()), is_ours=argv is None)
        words = _known(arguments)
        if words is None and arguments[:1] == ["query"]:
            from stratum_git.cli.telling import told

            words = told(arguments[1:])
        if words is not None:
            return _left(_told(words), is_ours=argv is None)
    except KeyboardInterrupt:
        return INTERRUPTED
    from stratum_git.cli import program

    return program.run(arguments, VERBS, overview())


def overview() -> str:
    """Returns what ``--help`` prints."""
    rows = (f"  {name:<9}  {line}" for name, (_, line, _) in VERBS.items())
    return ABOUT.format(verbs="\n".join(rows))


def _known(arguments: list[str]) -> str | None:
    """Returns what is answered without anything of the rest; ``None`` where that is not so."""
    if arguments in ([], ["-h"], ["--help"]):
        return overview()
    return f"stratum-git {__version__}\n" if arguments == ["--version"] else None


def _spare() -> None:
    """Looks for no garbage until a verb is loaded: of a short process that takes a fourth, and finds none."""
    import gc

    gc.disable()


def _left(code: int, *, is_ours: bool) -> int:
    """Ends a process of *is_ours* at once where nothing has anything to put in order, else returns the code.

    The interpreter takes a fifth of its time to take itself apart.
    """
    if is_ours and not {"threading", "atexit"} & set(sys.modules):
        # What a closed descriptor has left is no stream, and print passes over it.
        print(end="", flush=True)
        print(end="", flush=True, file=sys.stderr)
        os._exit(code)
    return code


def _told(words: str) -> int:
    try:
        print(words, end="", flush=True)
    except OSError as error:
        # What is still held back would be tried again at the end, and complained of.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            # Whoever read our output has seen enough.
            return YES
        from stratum_git.cli import program

        return program.failed(error)
    return YES
