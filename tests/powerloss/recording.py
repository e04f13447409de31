"""What `record.so` saw of a process, and the disk as a power cut at any moment of it would leave it.

A file holds what was written before its last sync began, once that sync has ended; of what came after, any
part may be there, in pieces of a sector. A name is there when its directory was synced after it was made. The
model is the one of POSIX: real file systems promise more.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

SECTOR = 512
_HEADER = struct.Struct("<IIQQ")


class Kind(IntEnum):
    """As in record.c."""

    OPEN = 1
    WRITE = 2
    TRUNCATE = 3
    RENAME = 4
    UNLINK = 5
    SYNC_BEGIN = 6
    SYNC_END = 7
    SEND = 8
    MKDIR = 9
    LINK = 10


@dataclass(frozen=True)
class Event:
    """One record; the meaning of `number` and `offset` is written in record.c."""

    kind: Kind
    number: int = 0
    offset: int = 0
    data: bytes = b""


def read(path: Path) -> list[Event]:
    """The records of a file, in order. A last one that is cut off ends them."""
    data, at, events = path.read_bytes(), 0, []
    while at + _HEADER.size <= len(data):
        kind, number, offset, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        if at + length > len(data):
            break
        events.append(Event(Kind(kind), number, offset, data[at : at + length]))
        at += length
    return events


def _apply(content: bytearray, event: Event) -> None:
    if event.kind == Kind.TRUNCATE:
        del content[event.offset :]
        content.extend(bytes(event.offset - len(content)))
        return
    content.extend(bytes(max(0, event.offset - len(content))))
    content[event.offset : event.offset + len(event.data)] = event.data


def _sectors(event: Event) -> Iterator[Event]:
    """A write as the pieces that a disk writes whole."""
    at = 0
    while at < len(event.data):
        size = SECTOR - (event.offset + at) % SECTOR
        yield Event(Kind.WRITE, event.number, event.offset + at, event.data[at : at + size])
        at += size


@dataclass
class _File:
    content: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    # Since the last sync, with their places in the recording.
    pending: list[tuple[int, Event]] = field(default_factory=list)

    def write(self, at: int, event: Event) -> None:
        _apply(self.content, event)
        self.pending.append((at, event))

    def sync(self, begin: int) -> None:
        while self.pending and self.pending[0][0] < begin:
            _apply(self.synced, self.pending.pop(0)[1])

    def torn(self, chance: random.Random) -> bytes:
        """What is synced, and of the rest whatever the disk happened to write."""
        content, share = bytearray(self.synced), chance.random()
        for _, event in self.pending:
            pieces = [event] if event.kind == Kind.TRUNCATE else _sectors(event)
            for piece in pieces:
                if chance.random() < share:
                    _apply(content, piece)
        return bytes(content)


@dataclass
class _Directory:
    names: dict[str, _File] = field(default_factory=dict)
    synced: dict[str, _File] = field(default_factory=dict)
    pending: list[tuple[int, str, _File | None]] = field(default_factory=list)

    def change(self, at: int, name: str, file: _File | None) -> None:
        _name(self.names, name, file)
        self.pending.append((at, name, file))

    def sync(self, begin: int) -> None:
        while self.pending and self.pending[0][0] < begin:
            _, name, file = self.pending.pop(0)
            _name(self.synced, name, file)


def _name(names: dict[str, _File], name: str, file: _File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file


class Disk:
    """Plays a recording; between two events, says what is on disk."""

    def __init__(self, root: str) -> None:
        """`root`: the recorded directory, which is there and synced."""
        self.root = root.rstrip("/")
        self.at = 0
        self._directories: dict[str, _Directory] = {self.root: _Directory()}
        self._opened: dict[int, _File | _Directory] = {}
        self._syncs: dict[int, tuple[int, int]] = {}

    def play(self, event: Event) -> None:
        """The next event of the recording."""
        at, self.at = self.at, self.at + 1
        kind, data = event.kind, event.data
        if kind == Kind.OPEN:
            self._opened[event.number] = self._open(at, data.decode(), made=event.offset == 1)
        elif kind in (Kind.WRITE, Kind.TRUNCATE):
            file = self._opened[event.number]
            assert isinstance(file, _File)
            file.write(at, event)
        elif kind in (Kind.RENAME, Kind.LINK):
            old, new = data.decode().split("\0")
            directory, name = self._place(old)
            file = directory.names[name]
            if kind == Kind.RENAME:
                directory.change(at, name, None)
            directory, name = self._place(new)
            directory.change(at, name, file)
        elif kind == Kind.UNLINK:
            directory, name = self._place(data.decode())
            directory.change(at, name, None)
        elif kind == Kind.MKDIR:
            self._directories.setdefault(data.decode().rstrip("/"), _Directory())
        elif kind == Kind.SYNC_BEGIN:
            self._syncs[event.number] = (at, event.offset)
        elif kind == Kind.SYNC_END:
            begin, number = self._syncs.pop(event.number)
            self._opened[number].sync(begin)

    def _place(self, path: str) -> tuple[_Directory, str]:
        directory, _, name = path.rpartition("/")
        return self._directories[directory], name

    def _open(self, at: int, path: str, *, made: bool) -> _File | _Directory:
        if path.rstrip("/") in self._directories:
            return self._directories[path.rstrip("/")]
        directory, name = self._place(path)
        if made or name not in directory.names:
            directory.change(at, name, _File())
        return directory.names[name]

    def files(self) -> dict[str, bytes]:
        """Everything written so far, by path below the root: what a killed process leaves."""
        return {path: bytes(file.content) for path, file in self._each(lambda d: d.names)}

    def synced(self) -> dict[str, bytes]:
        """What a power cut leaves if the disk wrote nothing that nobody waited for."""
        return {path: bytes(file.synced) for path, file in self._each(lambda d: d.synced)}

    def torn(self, chance: random.Random) -> dict[str, bytes]:
        """What a power cut leaves if the disk wrote some of the rest, in any order."""
        return {path: file.torn(chance) for path, file in self._each(lambda d: d.synced)}

    def _each(self, names: object) -> Iterable[tuple[str, _File]]:
        for path, directory in self._directories.items():
            for name, file in names(directory).items():  # type: ignore[operator]
                yield f"{path}/{name}"[len(self.root) + 1 :], file


def write(files: dict[str, bytes], root: Path) -> None:
    """Makes these files below `root`."""
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o600)
