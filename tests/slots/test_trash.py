import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from stratum_git.slots import trash


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name / "deep/er").mkdir(parents=True)
        (folder / name / "deep/er/file").write_text("x\n")


def still() -> float:
    return 0.0


def test_everything_in_the_trash_is_deleted(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    (tmp_path / "file").write_text("x\n")
    assert trash.empty(tmp_path, limit=1, clock=still)
    assert list(tmp_path.iterdir()) == []


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "trash"
    fill(outside, "precious")
    outside.chmod(0o755)
    fill(folder, "a")
    (folder / "link").symlink_to(outside)
    (folder / "a/link").symlink_to(outside)
    (folder / "a/deep/file link").symlink_to(outside / "precious/deep/er/file")
    (folder / "dangling").symlink_to("nowhere")
    assert trash.empty(folder, limit=1, clock=still)
    assert list(folder.iterdir()) == []
    assert (outside / "precious/deep/er/file").read_text() == "x\n"
    assert outside.stat().st_mode & 0o777 == 0o755


def test_nothing_is_begun_after_the_time_is_up(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b", "c")
    seconds = count()
    assert not trash.empty(tmp_path, limit=3, clock=lambda: float(next(seconds)))
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_several_may_empty_it_at_once(tmp_path: Path) -> None:
    fill(tmp_path, *(f"slot-{n}" for n in range(20)))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: trash.empty(tmp_path, limit=1, clock=still), range(4)))
    assert list(tmp_path.iterdir()) == []


def test_read_only_folders_are_deleted_too(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    for path in (tmp_path / "a/deep/er", tmp_path / "a/deep", tmp_path / "a"):
        path.chmod(0o500)
    trash._open_up(tmp_path / "a")
    modes = subprocess.run(
        ["find", "a", "-type", "d", "-printf", "%m "], cwd=tmp_path, capture_output=True, check=True
    )
    assert modes.stdout == b"700 700 700 "
    assert trash.empty(tmp_path, limit=1, clock=still)
