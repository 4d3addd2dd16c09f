"""Measures us and our peers on repositories of several sizes, in one run: ``scripts/bench``.

Writes the figures as JSON and prints them as a table; ``--write-readme`` puts table and plots where the
README shows them. What measures is every module of ``tests/bench`` with a function ``measure``; what could
not be measured is named, with the reason. The repositories are made once and kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.bench import machine, mcp_peer, repositories, suite, table
from tests.bench.results_file import LATEST, Results
from tests.support import disks

QUICK = (250, 5_000)
ANY = 5_000
"""The repository for what is the same for all, if there is one of this size."""
LARGE = 50_000
LONG = ("scheduling",)
"""What takes minutes by itself, and is left out where somebody wants it quick."""
DISK_MIB = 24_000


def main() -> int:
    """Runs what was asked for; returns 1 when something that should have been measured was not."""
    options = _options()
    if options.show:
        table.write_readme(Results.read(LATEST))
        return 0
    with ExitStack() as stack:
        work, made = stack.enter_context(_working(options))
        cache = (options.cache or work / "cache").resolve()
        cache.mkdir(parents=True, exist_ok=True)
        results = Results(
            taken=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            quick=options.quick,
            rounds=options.rounds or (2 if options.quick else 5),
            machine=machine.described(work),
            disk_in_file=made,
        )
        os.environ[mcp_peer.VARIABLE] = str(cache / "peers")
        missing = (
            mcp_peer.install(cache / "peers") if "fan_out" in (options.modules or suite.modules()) else ""
        )
        if missing:
            print(missing, file=sys.stderr)
        for module in LONG if options.quick and not options.modules else ():
            results.skipped.append(
                {"module": module, "repository": "", "why": "it takes long", "failed": False}
            )
        for name, place in _places(options, cache):
            described = repositories.described(place, made_by_us=options.repository is None)
            results.repositories[name] = asdict(described)
            for module in _wanted(options, int(described.files), name):
                with tempfile.TemporaryDirectory(
                    prefix="bench-", dir=work, ignore_cleanup_errors=True
                ) as folder:
                    scratch = Path(folder)
                    # What runs as somebody else has to come through.
                    scratch.chmod(0o711)
                    # The largest take most of the time, and vary least.
                    rounds = results.rounds if described.files < LARGE else max(results.rounds // 2, 1)
                    _note(results, suite.run(module, place, name, rounds, scratch))
                    results.write(options.out)
    print(table.markdown(results))
    if options.write_readme:
        table.write_readme(results)
    return int(any(row["failed"] for row in results.skipped))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(suite.modules()))
    parser.add_argument("--quick", action="store_true", help="small repositories, few rounds: minutes")
    parser.add_argument("--files", type=int, nargs="*", help="sizes of the repositories that are made")
    parser.add_argument("--repository", type=Path, nargs="*", help="measure on clones of these instead")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--out", type=Path, default=LATEST, help="where the JSON goes")
    parser.add_argument("--work", type=Path, help="a folder on the disk that is to be measured")
    parser.add_argument("--cache", type=Path, help="where made repositories are kept, on the same disk")
    parser.add_argument("--write-readme", action="store_true", help="put table and plots into the README")
    parser.add_argument("--show", action="store_true", help="only that, of the figures that are kept")
    parser.add_argument(
        "--disk", choices=["auto", "file", "here"], default="auto",
        help="'file' makes an ext4 with a journal for it, as root; 'auto' does where the disk has none",
    )  # fmt: skip
    return parser.parse_args()


@contextmanager
def _working(options: argparse.Namespace) -> Iterator[tuple[Path, bool]]:
    """Gives the folder to work in, and whether a disk was made for it."""
    top = (options.work or Path(tempfile.gettempdir()) / "stratum-git-bench").resolve()
    top.mkdir(parents=True, exist_ok=True)
    wanted = options.disk == "file"
    if options.disk == "auto":
        wanted = machine.disk(top)["journal"] is False and not disks.unable()
    if not wanted:
        yield top, False
        return
    if disks.unable():
        raise SystemExit(f"no disk can be made: {disks.unable()}; leave out --disk")
    image = top / "disk.ext4"
    if not image.exists():
        disks.make_image(image, DISK_MIB, journal_mib=128)
    with disks.mounted(image, top / "disk", "noatime"):
        yield top / "disk", True


def _places(options: argparse.Namespace, cache: Path) -> Iterator[tuple[str, Path]]:
    if options.repository:
        for source in options.repository:
            place = cache / f"clone-{source.resolve().name}"
            shutil.rmtree(place, ignore_errors=True)
            repositories.clone(source.resolve(), place)
            yield source.resolve().name, place
        return
    for files in options.files or (QUICK if options.quick else repositories.SIZES):
        yield str(files), repositories.provided(files, cache)


def _wanted(options: argparse.Namespace, files: int, name: str) -> Iterator[str]:
    sizes = options.files or (QUICK if options.quick else repositories.SIZES)
    for module in options.modules or suite.modules():
        if options.quick and module in LONG and not options.modules:
            continue
        wanted = suite.sizes(module)
        if options.repository or wanted is None or files in wanted:
            yield module
        elif not set(wanted) & set(sizes) and name == str(ANY if ANY in sizes else sizes[0]):
            # None of what it wants is made in this run; small figures are better than none.
            yield module


def _note(results: Results, outcome: suite.Outcome) -> None:
    row = {"module": outcome.module, "repository": outcome.repository}
    if outcome.figures is not None:
        results.measured.append({**row, "seconds": outcome.seconds, "figures": outcome.figures})
    if outcome.why:
        results.skipped.append({**row, "why": outcome.why, "failed": outcome.failed})
    said = "failed: " if outcome.failed else "left out: " if outcome.why else ""
    print(
        f"{outcome.module} {outcome.repository}: {outcome.seconds:.0f} s {said}{outcome.why}", file=sys.stderr
    )


if __name__ == "__main__":
    raise SystemExit(main())
