"""Reads refs and objects as git has them in files, without git: for whoever answers in a moment, and ends.

Git takes as long to start as all of this. What it reads is what git would: where that is not certain (a
repository of another form, a replaced object, a damaged one, one that is not here) it raises Undecided, and
git is asked. Neither ``pathlib`` nor ``dataclasses`` is loaded.
"""

from __future__ import annotations

import os
import zlib

from stratum_git.git.ref_files import is_oid, is_plain_name, loose_refs, packed_refs
from stratum_git.git.whereabouts import Checkout, Undecided, checkout_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratum_git.model.ids import Oid, RefName
else:
    RefName = str

WIDTH = 20
"""Bytes of an object's name: a repository with others is of another form."""
KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
OFFSET_DELTA, NAMED_DELTA = 6, 7
DEEP = 200
"""Deltas upon each other; git makes fifty."""
MANY = 300
"""Packs; of more git has an index of its own."""
CHUNK = 16 * 1024
NOWHERE = "0" * 2 * WIDTH
SECTION = b"abcdefghijklmnopqrstuvwxyz0123456789-."
"""What names of sections and of settings are made of."""
PLAIN = {b"bare": (b"false",), b"repositoryformatversion": (b"0", b"1")}
"""Settings that say what a repository is, as git writes them."""
INDEX = b"\xfftOc\x00\x00\x00\x02"
NAMES = 8 + 1024
"""Where the names of objects begin in the index of a pack."""


class Unaided:
    """The refs and objects of a repository, as its files have them."""

    def __init__(self, common_dir: str) -> None:
        self.common_dir = common_dir
        self._packs: list[_Pack] | None = None

    def refs(self, prefix: str) -> dict[RefName, Oid]:
        """Returns the refs below *prefix*, which ends in a slash, however deep."""
        # Those with files first: one that is packed meanwhile is among the packed ones before its file goes.
        loose = loose_refs(self.common_dir, prefix, deep=True)
        if loose is None:
            raise Undecided(f"{prefix} are no plain refs")
        found = {**packed_refs(self.common_dir, prefix)[0], **loose}
        if not all(is_plain_name(name) for name in found) or NOWHERE in found.values():
            # Git passes over some of these, and fails at others.
            raise Undecided(f"{prefix} has refs that git would not make")
        return found

    def ref(self, name: str) -> str | None:
        """Returns where a ref stands; ``None`` where there is none."""
        try:
            with open(os.path.join(self.common_dir, name), "rb") as file:
                text = file.read().removesuffix(b"\n")
        except FileNotFoundError:
            return packed_refs(self.common_dir, name)[0].get(RefName(name))
        except OSError as error:
            raise Undecided(str(error)) from error
        if not is_oid(text):
            raise Undecided(f"{name} is no plain ref")
        return text.decode("ascii")

    def blob(self, oid: str, limit: int) -> bytes:
        """Returns a blob of at most *limit* bytes."""
        kind, data = self._object(oid, limit)
        if kind != "blob":
            raise Undecided(f"{oid} is no blob")
        return data

    def tree(self, commit: str, limit: int) -> str:
        """Returns the tree of a commit, which is at most *limit* bytes long."""
        kind, data = self._object(commit, limit)
        if kind != "commit" or not data.startswith(b"tree "):
            raise Undecided(f"{commit} is no commit")
        return data[5 : data.index(b"\n")].decode("ascii")

    def file(self, commit: str, name: str, limit: int) -> bytes:
        """Returns the file *name* at the top of a commit's tree."""
        return self.blob(_named(self.listing(self.tree(commit, limit), limit), name.encode()), limit)

    def listing(self, oid: str, limit: int) -> bytes:
        """Returns what a tree has, as it is stored."""
        kind, tree = self._object(oid, limit)
        if kind != "tree":
            raise Undecided(f"{oid} is no tree")
        return tree

    def close(self) -> None:
        """Closes the packs that were opened."""
        for pack in self._packs or ():
            pack.close()
        self._packs = None

    def _object(self, oid: str, limit: int) -> tuple[str, bytes]:
        try:
            return self._loose(oid, limit) or self._packed(bytes.fromhex(oid), limit)
        except (OSError, ValueError, zlib.error, IndexError, RecursionError) as error:
            raise Undecided(f"{oid} cannot be read: {error}") from error

    def _loose(self, oid: str, limit: int) -> tuple[str, bytes] | None:
        try:
            with open(f"{self.common_dir}/objects/{oid[:2]}/{oid[2:]}", "rb") as file:
                stored = file.read(limit)
        except FileNotFoundError:
            return None
        opened = zlib.decompressobj()
        data = opened.decompress(stored, limit)
        head, _, body = data.partition(b"\0")
        kind, _, size = head.partition(b" ")
        if not opened.eof or opened.unused_data or len(body) != int(size):
            raise Undecided(f"{oid} is not whole, or large")
        return kind.decode("ascii"), body

    def _packed(self, name: bytes, limit: int) -> tuple[str, bytes]:
        if self._packs is None:
            self._packs = list(_packs_in(f"{self.common_dir}/objects/pack"))
        for pack in self._packs:
            at = pack.place_of(name)
            if at is not None:
                kind, data, base = pack.entry(at, limit)
                return self._whole(pack, kind, data, base, limit)
        raise Undecided(f"{name.hex()} is not here")

    def _whole(self, pack: _Pack, kind: int, data: bytes, base: int | bytes, limit: int) -> tuple[str, bytes]:
        """Returns an object out of its entry: itself, or made of another one by deltas."""
        deltas = []
        while kind not in KINDS:
            deltas.append(data)
            if len(deltas) > DEEP:
                raise Undecided("too many deltas")
            if isinstance(base, bytes):
                name, data = self._object(base.hex(), limit)
                return name, _applied(data, deltas, limit)
            kind, data, base = pack.entry(base, limit)
        return KINDS[kind], _applied(data, deltas, limit)


def unaided(checkout: Checkout | None, place: str) -> Unaided:
    """Returns the repository around *place*, where git would surely find that one, and read it."""
    if checkout is None:
        raise Undecided("there is no checkout")
    common, user = checkout.common_dir, os.geteuid()
    try:
        with open(f"{common}/config", "rb") as file:
            settings = file.read()
        with open(f"{checkout.git_dir}/HEAD", "rb") as file:
            head = file.read(100)
        there = os.stat(checkout.root)
        owners = {there.st_uid, os.stat(checkout.git_dir).st_uid, os.lstat(f"{checkout.root}/.git").st_uid}
        is_near = os.stat(place).st_dev == there.st_dev
    except OSError as error:
        raise Undecided(str(error)) from error
    is_plain = (
        (head.startswith(b"ref: refs/") or is_oid(head.strip()))
        and is_near
        and owners == {user}
        and not _is_odd(settings)
        and os.path.isdir(f"{common}/objects")
        and os.path.isdir(f"{common}/refs")
        and not os.path.exists(f"{common}/reftable")
        and not os.path.exists(f"{common}/refs/replace")
        and not _is_hidden(os.path.realpath(place), checkout)
    )
    if not is_plain or packed_refs(common, "refs/replace/")[0]:
        raise Undecided("git may see it otherwise")
    return Unaided(common)


def unaided_at(place: str) -> Unaided:
    """Returns the repository around *place*; raises Undecided."""
    return unaided(checkout_at(place), place)


def _is_odd(settings: bytes) -> bool:
    """Returns whether a repository may lie elsewhere, have no checkout, or be of another form.

    So may one of which not every line is surely understood: one that is damaged git does not open.
    """
    for line in settings.lower().splitlines():
        said = line.strip(b" \t")
        if said.startswith(b"["):
            title, end, said = said[1:].partition(b"]")
            section = title.partition(b" ")[0]
            if (
                not end
                or not section
                or section.strip(SECTION)
                or section.startswith((b"extensions", b"include"))
            ):
                return True
            said = said.strip(b" \t")
        if not said or said.startswith((b"#", b";")):
            continue
        key, _, value = (part.strip(b" \t") for part in said.partition(b"="))
        if not key or key.strip(SECTION) or value.endswith(b"\\") or value.count(b'"') % 2:
            return True
        if key == b"worktree" or value not in PLAIN.get(key, (value,)):
            return True
    return False


def _is_hidden(place: str, checkout: Checkout) -> bool:
    """Returns whether *place* is in a git directory, or in a repository without a checkout that is in it."""
    while len(place) >= len(checkout.root):
        if place in {checkout.git_dir, checkout.common_dir} or os.path.lexists(f"{place}/HEAD"):
            return True
        place = os.path.dirname(place)
        if place == "/":
            break
    return False


def _packs_in(folder: str) -> Iterator[_Pack]:
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".idx")]
    except FileNotFoundError:
        return
    if len(names) > MANY:
        raise Undecided("there are many packs")
    for name in names:
        yield _Pack(f"{folder}/{name[:-4]}")


def _named(tree: bytes, name: bytes) -> str:
    at = 0
    while at < len(tree):
        space = tree.index(b" ", at)
        end = tree.index(b"\0", space)
        if tree[space + 1 : end] == name:
            return tree[end + 1 : end + 1 + WIDTH].hex()
        at = end + 1 + WIDTH
    raise Undecided(f"there is no {name!r}")


class _Pack:
    """A pack, and its index, which is searched where it lies."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle = -1
        self._index = os.open(f"{path}.idx", os.O_RDONLY | os.O_CLOEXEC)
        if os.pread(self._index, 8, 0) != INDEX:
            raise Undecided(f"{path}.idx is of another form")
        self._count = self._number(NAMES - 4)

    def place_of(self, name: bytes) -> int | None:
        """Returns where an object is in the pack; ``None`` when it is not in it."""
        if len(name) != WIDTH:
            raise Undecided("the name of an object is of another form")
        first = name[0]
        low = self._number(8 + 4 * (first - 1)) if first else 0
        high = self._number(8 + 4 * first)
        while low < high:
            middle = (low + high) // 2
            there = os.pread(self._index, WIDTH, NAMES + middle * WIDTH)
            if there == name:
                return self._offset(middle)
            low, high = (middle + 1, high) if there < name else (low, middle)
        return None

    def entry(self, at: int, limit: int) -> tuple[int, bytes, int | bytes]:
        """Returns the kind of an entry, what it has, and of a delta where its base is, or its name."""
        if self._handle < 0:
            self._handle = os.open(f"{self._path}.pack", os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(self._handle, CHUNK, at)
        kind, size, used = _head(data)
        base: int | bytes = 0
        if kind == OFFSET_DELTA:
            back, used = _back(data, used)
            base = at - back
        elif kind == NAMED_DELTA:
            base, used = data[used : used + WIDTH], used + WIDTH
        elif kind not in KINDS:
            raise Undecided(f"an entry of {self._path}.pack is of no known kind")
        if size > limit:
            raise Undecided("an object is large")
        opened = zlib.decompressobj()
        parts = [opened.decompress(data[used:], size + 1)]
        at += len(data)
        while not opened.eof and data:
            data = opened.unconsumed_tail or os.pread(self._handle, CHUNK, at)
            at += 0 if opened.unconsumed_tail else len(data)
            parts.append(opened.decompress(data, size + 1))
            if sum(map(len, parts)) > size:
                break
        whole = b"".join(parts)
        if len(whole) != size or not opened.eof:
            raise Undecided(f"an entry of {self._path}.pack is not whole")
        return kind, whole, base

    def close(self) -> None:
        """Closes its files."""
        os.close(self._index)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _number(self, at: int) -> int:
        return int.from_bytes(os.pread(self._index, 4, at), "big")

    def _offset(self, number: int) -> int:
        offsets = NAMES + self._count * (WIDTH + 4)
        found = self._number(offsets + 4 * number)
        if not found & 0x80000000:
            return found
        at = offsets + 4 * self._count + 8 * (found & 0x7FFFFFFF)
        return int.from_bytes(os.pread(self._index, 8, at), "big")


def _head(data: bytes) -> tuple[int, int, int]:
    """Returns the kind and the size of an entry, and how long its head is."""
    byte, used = data[0], 1
    kind, size, shift = (byte >> 4) & 7, byte & 15, 4
    while byte & 0x80:
        byte = data[used]
        size |= (byte & 0x7F) << shift
        used, shift = used + 1, shift + 7
    return kind, size, used


def _back(data: bytes, used: int) -> tuple[int, int]:
    """Returns how far before a delta its base is, and where what follows begins."""
    byte = data[used]
    found, used = byte & 0x7F, used + 1
    while byte & 0x80:
        byte = data[used]
        found = ((found + 1) << 7) | (byte & 0x7F)
        used += 1
    return found, used


def _applied(data: bytes, deltas: list[bytes], limit: int) -> bytes:
    for delta in reversed(deltas):
        data = _changed(data, delta, limit)
    return data


def _changed(base: bytes, delta: bytes, limit: int) -> bytes:
    """Returns what a delta makes of *base*: pieces of that, and pieces of its own."""
    old, at = _size(delta, 0)
    new, at = _size(delta, at)
    if old != len(base) or new > limit:
        raise Undecided("a delta does not fit")
    made = bytearray()
    while at < len(delta):
        code = delta[at]
        at += 1
        if not code:
            raise Undecided("a delta is of another form")
        if not code & 0x80:
            made += delta[at : at + code]
            at += code
            continue
        numbers = [0, 0]
        for bit in range(7):
            if code >> bit & 1:
                numbers[bit // 4] |= delta[at] << 8 * (bit % 4)
                at += 1
        start, length = numbers[0], numbers[1] or 0x10000
        made += base[start : start + length]
    if len(made) != new:
        raise Undecided("a delta does not fit")
    return bytes(made)


def _size(delta: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = delta[at]
        found |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return found, at
