"""The file of a backup: a zip with one member a table, a JSON array a line, and the manifest last.

Nothing is ever unpacked to where a member says: members are known by their names, and those of a
file must be exactly those that its manifest names.
"""

import contextlib
import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from registry.backup import manifest
from registry.backup.manifest import Heading, Manifest, Stored
from registry.backup.refused import BackupRefused
from registry.backup.tables import AT_ONCE, Row
from registry.holding import lock

LEVEL = 3
"""Of deflate: higher ones take three times as long for a tenth."""
PIECE = 1 << 20
MOST_A_ROW = 64 << 20
"""Bytes; a row with a picture has some hundred thousand."""
MOST_MEMBERS = 1000
TIGHTEST = 250
ALLOWED_ANYWAY = 64 << 20
"""Deflate packs 1,000 to 1 at most, rows of ours 5 to 30: what says that it unpacks to more than
this many times its size is not ours."""
_ROW = msgspec.json.Decoder(tuple[str | int | float | None, ...])
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


# --- writing --------------------------------------------------------------------------------------


@contextlib.contextmanager
def new_file(path: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """A file that only its owner reads and that takes its place when the block ends well: whole,
    and on the disk. Else nothing is left. What a killed run left is written over by the next one.

    Raises: BackupRefused.
    """
    aside = path.with_name(f".{path.name}.part")
    whole = False
    with contextlib.ExitStack() as at_end:
        try:
            file = _aside(aside)
            at_end.callback(_close, file)
            _hold(file, aside, path)
            try:
                file.truncate(0)
                yield file
                file.flush()
                os.fsync(file.fileno())
                if not replace and path.exists():
                    raise BackupRefused("exists", file=path)
                aside.replace(path)
                whole = True
            finally:
                if not whole:
                    aside.unlink(missing_ok=True)
            flush_folder(path.parent)
        except OSError as error:
            if error.filename not in (None, str(aside)):
                raise
            raise BackupRefused("not_written", file=path, why=error.strerror) from None


def _aside(aside: Path) -> IO[bytes]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(aside, flags, 0o600)
    with contextlib.suppress(PermissionError):  # some file systems know no modes
        os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "r+b")


def _hold(file: IO[bytes], aside: Path, path: Path) -> None:
    """Raises: BackupRefused where another run writes it, or has just given it its name."""
    try:
        lock(file.fileno(), alone=True)
        ours = os.path.samestat(os.fstat(file.fileno()), aside.stat())
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        raise BackupRefused("being_written", file=path)


def _close(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # what a full disk did not take is of no use any more
        file.close()


def flush_folder(folder: Path) -> None:
    """Make what was renamed in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Writer:
    """Writes members one after another into a file that can be sought."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL)
        self._encode = msgspec.json.Encoder().encode_lines

    def add(self, name: str, pieces: Iterable[bytes]) -> Stored:
        """A member, a piece at a time. Raises: OSError."""
        told = zipfile.ZipInfo(name)
        told.compress_type, told.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
        told._compresslevel = LEVEL  # type: ignore[attr-defined]
        sum_, length = hashlib.sha256(), 0
        with self._zip.open(told, "w", force_zip64=True) as member:
            for piece in pieces:
                sum_.update(piece)
                length += len(piece)
                member.write(piece)
        return Stored(bytes=length, sha256=sum_.hexdigest())

    def add_rows(self, name: str, batches: Iterable[Sequence[Row]]) -> tuple[Stored, int]:
        """A table; gives how many rows it has as well."""
        count = 0

        def pieces() -> Iterator[bytes]:
            nonlocal count
            for rows in batches:
                count += len(rows)
                yield self._encode(rows)

        stored = self.add(name, pieces())
        return stored, count

    def finish(self, said: Manifest) -> None:
        """The manifest, with which the file is whole."""
        text = msgspec.json.format(msgspec.json.encode(said), indent=1)
        self.add(manifest.NAME, [text])
        self._zip.close()

    def give_up(self) -> None:
        """Nothing more is written; the file is not whole."""
        self._zip.fp = None


# --- reading --------------------------------------------------------------------------------------


class Archive:
    """A backup that is read. path: of a file that is a whole backup by its manifest.

    The file stays open, so that what is restored is what was verified. version: of this program.
    Raises: BackupRefused.
    """

    def __init__(self, path: Path, *, version: str) -> None:
        self.path = path
        self._closing = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            try:
                file = opened.enter_context(_opened(path))
                self._zip = opened.enter_context(zipfile.ZipFile(file))
            except OSError as error:
                raise BackupRefused("unreadable", file=path, why=error.strerror) from None
            except (*_DAMAGED, ValueError, UnicodeDecodeError):
                raise BackupRefused("no_backup", file=path) from None
            self.manifest = self._manifest(version)
            self._check_members()
            self._closing = opened.pop_all()

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def verify(self, told: Callable[[int], None] = lambda _: None) -> None:
        """Read every member to its end. told: gets how many bytes more were read.

        Raises: BackupRefused.
        """
        for name, stored in self.manifest.members().items():
            for piece in self._pieces(name, stored):
                told(len(piece))

    def rows(self, name: str, columns: int) -> Iterator[list[Row]]:
        """The rows of a member, some hundred at once; that they are whole is known at the end.

        Raises: BackupRefused.
        """
        rest, rows, bytes_ = b"", [], 0
        for piece in self._pieces(name, self.manifest.members()[name]):
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            if len(rest) > MOST_A_ROW:
                raise self._damaged(name)
            for line in lines:
                rows.append(self._row(name, line, columns))
                bytes_ += len(line)
                if len(rows) == AT_ONCE or bytes_ > PIECE:
                    yield rows
                    rows, bytes_ = [], 0
        if rest:
            raise self._damaged(name)
        yield rows

    def key(self) -> str:
        """The secret key. Raises: BackupRefused; KeyError where it was left out."""
        stored = self.manifest.members()[manifest.KEY]
        return b"".join(self._pieces(manifest.KEY, stored)).decode("ascii", "replace").strip()

    def _row(self, name: str, line: bytes, columns: int) -> Row:
        try:
            row = _ROW.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._damaged(name) from None
        if len(row) != columns:
            raise self._damaged(name)
        return row

    def _manifest(self, version: str) -> Manifest:
        try:
            told = self._zip.getinfo(manifest.NAME)
            if told.file_size > manifest.MOST_BYTES:
                raise BackupRefused("no_backup", file=self.path)
            with self._zip.open(told) as member:
                text = member.read(manifest.MOST_BYTES)
            heading = msgspec.json.decode(text, type=Heading)
            if heading.product != manifest.PRODUCT:
                raise BackupRefused("no_backup", file=self.path)
            if heading.format > manifest.FORMAT:
                raise BackupRefused(
                    "newer_format", file=self.path, made_by=heading.version, version=version
                )
            return msgspec.json.decode(text, type=Manifest)
        except (KeyError, UnicodeDecodeError, msgspec.DecodeError, OSError, *_DAMAGED):
            raise BackupRefused("no_backup", file=self.path) from None

    def _check_members(self) -> None:
        """The members are those of the manifest, each once, and not larger than it says."""
        wanted = self.manifest.members()
        found: set[str] = set()
        for told in self._zip.infolist():
            name = told.filename
            if name in found or name not in {manifest.NAME, *wanted}:
                raise BackupRefused("member_unknown", file=self.path, member=repr(name[:100]))
            found.add(name)
            if name in wanted and told.file_size != wanted[name].bytes:
                raise self._damaged(name)
        for name in wanted:
            if name not in found:
                raise BackupRefused("member_missing", file=self.path, member=name)
        unpacked = sum(each.bytes for each in wanted.values())
        if unpacked > ALLOWED_ANYWAY + TIGHTEST * self.path.stat().st_size:
            raise BackupRefused("unpacks_to_too_much", file=self.path, bytes=unpacked)

    def _pieces(self, name: str, stored: Stored) -> Iterator[bytes]:
        """Raises: BackupRefused where it is not what was written."""
        sum_, length = hashlib.sha256(), 0
        try:
            with self._zip.open(name) as member:
                while piece := member.read(PIECE):
                    sum_.update(piece)
                    length += len(piece)
                    if length > stored.bytes:
                        break
                    yield piece
        except (*_DAMAGED, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                why = error.strerror
                raise BackupRefused("unreadable", file=self.path, why=why) from None
            raise self._damaged(name) from None
        if (length, sum_.hexdigest()) != (stored.bytes, stored.sha256):
            raise self._damaged(name)

    def _damaged(self, name: str) -> BackupRefused:
        return BackupRefused("member_damaged", file=self.path, member=name)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Raises: OSError; ValueError for what is no file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError
    with path.open("rb") as file:
        yield file
