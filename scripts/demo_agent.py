"""The agents of the demo: ``plan`` looks for packages, ``write`` writes a page, ``check`` judges pages.

They stand for coding agents, and see what these would: the prompt, the slot, the names in the environment.
Nothing of what they write is made up; it is read from the source.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = Path("stratum_git")
PAGES = Path("docs/reference")
MOST = 8


def plan() -> None:
    """Returns the task graph: a page for each of the largest packages, an index, and two that conflict."""
    sizes = {
        folder.name: sum(len(p.read_text().splitlines()) for p in modules(folder.name))
        for folder in packages()
    }
    names = sorted(sorted(sizes, key=lambda name: -sizes[name])[:MOST])
    tasks: list[dict[str, object]] = [
        {"id": name, "intent": f"Write the page of package {name}.", "files_owned": [f"{PAGES}/{name}.md"]}
        for name in names
    ]
    tasks.append(
        {
            "id": "index",
            "intent": "Write the index of all pages.",
            "depends_on": names,
            "files_owned": [f"{PAGES}/index.md"],
        }
    )
    tasks += [
        {"id": name, "intent": f"Write the {name}.", "files_owned": [f"{PAGES}/README.md"]}
        for name in ("preface-short", "preface-long")
    ]
    answer(tasks=tasks)


def write() -> None:
    """Writes what the prompt asks for."""
    prompt = Path(os.environ["STRATUM_PROMPT_FILE"]).read_text()
    task = os.environ["STRATUM_TASK"]
    PAGES.mkdir(parents=True, exist_ok=True)
    found = re.search(r"page of package (\w+)", prompt)
    if found:
        # Everybody forgets something. This one, what is in the last module, unless it was told so once.
        hasty = task == "core" and "was rejected" not in prompt
        (PAGES / f"{found[1]}.md").write_text(page(found[1], leave_out=1 if hasty else 0))
    elif task == "index":
        pages = sorted(path for path in PAGES.glob("*.md") if path.stem in {p.name for p in packages()})
        lines = (f"- [{path.stem}]({path.name}): {path.read_text().splitlines()[2]}\n" for path in pages)
        (PAGES / "index.md").write_text("# Packages\n\n" + "".join(lines))
    else:
        words = (
            "Pages made from the source."
            if task == "preface-short"
            else "Pages made from the source, by package."
        )
        (PAGES / "README.md").write_text(f"# Reference\n\n{words}\n")
    print(f"wrote {task}")


def check() -> int:
    """Returns 0 when every page names every public thing of its package, and the index names every page."""
    for path in sorted(PAGES.glob("*.md")):
        text = path.read_text()
        if (PACKAGES / path.stem).is_dir():
            missing = [
                name for module in modules(path.stem) for name, _ in public(module) if f"`{name}`" not in text
            ]
        elif path.name == "index.md":
            missing = [
                other.stem
                for other in PAGES.glob("*.md")
                if (PACKAGES / other.stem).is_dir() and f"({other.name})" not in text
            ]
        else:
            missing = []
        if missing:
            print(f"{path} does not mention {', '.join(missing)}")
            return 1
    return 0


def page(package: str, *, leave_out: int) -> str:
    """Returns the page of a package, without its last modules when some are to be left out."""
    own = (
        ast.get_docstring(ast.parse((PACKAGES / package / "__init__.py").read_text()))
        or "No words of its own."
    )
    lines = [f"# {package}", "", own.splitlines()[0], ""]
    found = modules(package)
    for module in found[: len(found) - leave_out]:
        lines += [f"## {module.stem}", ""]
        lines += [f"- `{name}`: {words}" for name, words in public(module)] or ["Nothing public."]
        lines.append("")
    return "\n".join(lines)


def packages() -> Iterator[Path]:
    """Yields the folder of every package."""
    return (path.parent for path in sorted(PACKAGES.glob("*/__init__.py")))


def modules(package: str) -> list[Path]:
    """Returns the modules of a package."""
    return [path for path in sorted((PACKAGES / package).glob("*.py")) if path.name != "__init__.py"]


def public(module: Path) -> Iterator[tuple[str, str]]:
    """Yields each public class and function of a module with the first line of its docstring."""
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
            yield node.name, (ast.get_docstring(node) or "").partition("\n")[0]


def answer(**fields: object) -> None:
    """Returns a result."""
    Path(os.environ["STRATUM_RESULT_FILE"]).write_text(json.dumps(fields))


if __name__ == "__main__":
    sys.exit({"plan": plan, "write": write, "check": check}[sys.argv[1]]())
