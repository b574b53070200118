"""What an import keeps on disk: the upload until it is done, the copy with reasons for a day."""

import dataclasses
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import msgspec

from registry.exchange.coordinates import System
from registry.exchange.files import Format
from registry.identity import new_id, parse_id

KEPT_S = 86_400.0


class ImportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of a file. organization: its id. system: None for what the header says."""

    kind: Format
    organization: str
    system: System | None
    dry_run: bool
    partial: bool
    language: str


@dataclasses.dataclass(frozen=True, slots=True)
class ImportFolder:
    """The folder of one import; its files may or may not be there."""

    path: Path

    @property
    def file(self) -> Path:
        return self.path / "file"

    @property
    def staging(self) -> Path:
        return self.path / "staging.db"

    @property
    def refused(self) -> Path:
        return self.path / "refused.csv"

    @property
    def _request(self) -> Path:
        return self.path / "request.json"

    @property
    def is_complete(self) -> bool:
        """Whether the upload is there, with what was asked of it."""
        return self.file.is_file() and self._request.is_file()

    def request(self) -> ImportRequest:
        return msgspec.json.decode(self._request.read_bytes(), type=ImportRequest)

    def keep(self, upload: BinaryIO, request: ImportRequest) -> None:
        self.path.mkdir(parents=True)
        with self.file.open("wb") as file:
            shutil.copyfileobj(upload, file, 1 << 20)
        self._request.write_bytes(msgspec.json.encode(request))

    def finish(self) -> None:
        """All that nobody asks for any more goes."""
        for path in (self.file, self.staging, self._request):
            path.unlink(missing_ok=True)
        if not self.refused.is_file():
            self.remove()

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class ImportFolders:
    """The folders of a node's imports, each named after its job. root: made when it is needed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, job_id: str) -> ImportFolder:
        """Raises: ValueError for what is no id."""
        if parse_id(job_id) != job_id:
            raise ValueError(f"no id: {job_id!r}")
        return ImportFolder(self._root / job_id)

    def arriving(self) -> ImportFolder:
        """One for an upload whose job is not known yet."""
        return ImportFolder(self._root / f"arriving-{new_id()}")

    def settle(self, arrived: ImportFolder | None, job_id: str) -> ImportFolder:
        """Give the job the upload that arrived, unless it has one from before."""
        folder = self.of(job_id)
        if arrived is None:
            return folder
        if folder.is_complete:
            arrived.remove()
        else:
            folder.remove()
            arrived.path.rename(folder.path)
        return folder

    def sweep(self, at_work: Collection[str]) -> None:
        """Remove what is older than a day. at_work: ids of jobs whose folders stay."""
        if not self._root.is_dir():
            return
        too_old = time.time() - KEPT_S
        for path in self._root.iterdir():
            if path.name not in at_work and path.stat().st_mtime < too_old:
                shutil.rmtree(path, ignore_errors=True)
