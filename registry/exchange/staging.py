"""The rows of one file in a SQLite file of their own, until they are good enough to be written."""

import dataclasses
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from registry.exchange.columns import Columns, read_header
from registry.exchange.coordinates import System
from registry.exchange.files import Format, read_records
from registry.exchange.reasons import Refusal, refuse
from registry.exchange.records import FileRefused, Record
from registry.exchange.row_values import read_row

CHUNK = 2_000
_SCHEMA = """
CREATE TABLE rows (
    n INTEGER PRIMARY KEY, sheet TEXT NOT NULL, row INTEGER NOT NULL,
    id TEXT, code TEXT, name TEXT, place TEXT NOT NULL,
    given BLOB NOT NULL, longitude REAL, latitude REAL,
    early BLOB, late BLOB, action TEXT, point_id TEXT, planned BLOB
);
CREATE TABLE existing (id TEXT PRIMARY KEY, code TEXT, name TEXT, place TEXT);
"""
_INDEXES = """
CREATE INDEX rows_id ON rows (id) WHERE id IS NOT NULL;
CREATE INDEX rows_code ON rows (code) WHERE code IS NOT NULL;
CREATE INDEX rows_name ON rows (name, place);
"""
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_read_refusals = msgspec.json.Decoder(tuple[Refusal, ...]).decode


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StagedRow:
    """A row that nothing is wrong with so far. given: see `row_values.RowValues`. point_id: what
    it was found to mean."""

    n: int
    id: str | None
    code: str | None
    name: str | None
    place: str
    given: dict[str, Any]
    point_id: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """n: counts the rows of the file from 1."""

    n: int
    sheet: str
    row: int
    refusals: tuple[Refusal, ...]


class Staging:
    """A staging file. path: made anew; whoever makes it removes it, after `close`."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        # Filled in one thread and read in another, never in two at once.
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-32000"):
            self._db.execute(f"PRAGMA {pragma}").close()
        self._db.executescript(_SCHEMA)
        self._is_planned = False
        self.total = 0
        self.ignored_columns: tuple[str, ...] = ()
        self.repeated_columns: tuple[str, ...] = ()
        self.system: System = "wgs84"

    def close(self) -> None:
        self._db.close()

    def fill(
        self,
        path: Path,
        kind: Format,
        system: System | None,
        keep_on: Callable[[int], None] = lambda _done: None,
    ) -> None:
        """Read a file. system: of its positions; None for what its header says, else WGS-84.
        keep_on: told how many rows are read; raises to stop.

        Raises: FileRefused.
        """
        known: dict[int, Columns] = {}
        kept: list[tuple[str, ...]] = []
        self._db.execute("BEGIN")
        batch: list[tuple[Any, ...]] = []
        for record in read_records(path, kind):
            columns = known.get(id(record.headers))
            if columns is None:
                # Kept, so that no other tuple can come to have the same identity.
                kept.append(record.headers)
                columns = known[id(record.headers)] = self._note(record, system)
            batch.append(self._staged(record, columns))
            if len(batch) == CHUNK:
                self._insert(batch)
                keep_on(self.total)
        self._insert(batch)
        self._db.execute("COMMIT")
        self._db.executescript(_INDEXES)
        # Never committed: nobody else reads the file, and each statement would be by itself.
        self._db.execute("BEGIN")
        keep_on(self.total)

    def _note(self, record: Record, system: System | None) -> Columns:
        columns = read_header(record.headers)
        where = f"sheet {record.sheet}: " if record.sheet else ""
        if columns.contradicts or (system and columns.system and system != columns.system):
            raise FileRefused(f"{where}the coordinate system is stated twice, and not the same")
        self.system = system or columns.system or "wgs84"
        self.ignored_columns = _joined(self.ignored_columns, columns.ignored)
        self.repeated_columns = _joined(self.repeated_columns, columns.repeated)
        return columns

    def _staged(self, record: Record, columns: Columns) -> tuple[Any, ...]:
        self.total += 1
        read = read_row(columns, record.cells, self.system)
        given = dict(read.values)
        longitude, latitude = read.raw_position or (None, None)
        return (
            *(self.total, record.sheet, record.row, given.pop("id", None)),
            *(given.get("code"), given.get("name"), given.get("place", "")),
            *(_encode(given), longitude, latitude),
            _encode(read.refusals) if read.refusals else None,
        )

    def _insert(self, batch: list[tuple[Any, ...]]) -> None:
        self._db.executemany(
            "INSERT INTO rows (n, sheet, row, id, code, name, place, given, longitude, latitude,"
            " early) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            batch,
        )
        batch.clear()

    # --- planning ---------------------------------------------------------------------------------

    def begin_again(self) -> None:
        """Forget what an earlier planning found."""
        if not self._is_planned:
            self._is_planned = True
            return
        self._db.execute(
            "UPDATE rows SET late = NULL, action = NULL, point_id = NULL, planned = NULL"
        )
        self._db.execute("DELETE FROM existing")

    def refuse_repeated_keys(self) -> None:
        """Each row's key is its id, else its code, else (name, place); one key twice means nobody
        knows which row is right."""
        for key, where in (
            ("id", "id IS NOT NULL"),
            ("code", "code IS NOT NULL"),
            ("name, place", "id IS NULL AND code IS NULL AND name IS NOT NULL"),
        ):
            field = key.partition(",")[0]
            grouped = self._db.execute(
                f"SELECT group_concat(n) FROM (SELECT n, {key} FROM rows WHERE {where} ORDER BY n)"
                f" GROUP BY {key} HAVING count(*) > 1"
            ).fetchall()
            for (numbers,) in grouped:
                self._refuse_all([int(n) for n in numbers.split(",")], field, "twice")

    def refuse_double_claims(self) -> None:
        """Two rows that were found to mean the same point."""
        grouped = self._db.execute(
            "SELECT group_concat(n) FROM rows WHERE point_id IS NOT NULL AND late IS NULL"
            " GROUP BY point_id HAVING count(*) > 1"
        ).fetchall()
        for (numbers,) in grouped:
            self._refuse_all(sorted(int(n) for n in numbers.split(",")), "row", "claimed")

    def _refuse_all(self, numbers: list[int], field: str, reason: str) -> None:
        shown = dict(
            self._db.execute(
                f"SELECT n, row FROM rows WHERE n IN ({','.join('?' * len(numbers[:9]))})",
                numbers[:9],
            )
        )
        refused = []
        for n in numbers:
            others = ", ".join(str(row) for other, row in shown.items() if other != n)
            refused.append((n, refuse(field, reason, rows=others)))
        self.refuse(refused)

    def refuse(self, refused: Iterable[tuple[int, Refusal]]) -> None:
        """Add reasons to rows."""
        for n, refusal in refused:
            (before,) = self._db.execute("SELECT late FROM rows WHERE n = ?", (n,)).fetchone()
            known = _read_refusals(before) if before else ()
            self._db.execute(
                "UPDATE rows SET late = ? WHERE n = ?", (_encode((*known, refusal)), n)
            )

    def good(self, where: str = "1") -> Iterator[list[StagedRow]]:
        """Rows that nothing is wrong with so far, in the file's order, in chunks."""
        last = 0
        while True:
            found = self._db.execute(
                "SELECT n, id, code, name, place, given, point_id FROM rows"
                f" WHERE n > ? AND early IS NULL AND late IS NULL AND {where} ORDER BY n LIMIT ?",
                (last, CHUNK),
            ).fetchall()
            if not found:
                return
            last = found[-1][0]
            yield [
                StagedRow(
                    n=n,
                    id=own,
                    code=code,
                    name=name,
                    place=place,
                    given=_decode(given),
                    point_id=point_id,
                )
                for n, own, code, name, place, given, point_id in found
            ]

    def note_points(self, found: Iterable[tuple[str, int]]) -> None:
        """Which point a row means: (point id, n)."""
        self._db.executemany("UPDATE rows SET point_id = ? WHERE n = ?", found)

    def note_existing(self, found: Iterable[tuple[str, str | None, str, str]]) -> None:
        """Points that names are looked up among: (id, code, name, place)."""
        self._db.executemany("INSERT OR IGNORE INTO existing VALUES (?,?,?,?)", found)

    def match_names(self) -> None:
        """Give rows without a point the one existing point of their name and place that no other
        row means by id or code. A row with a code takes none that has another."""
        self._db.execute("CREATE INDEX IF NOT EXISTS existing_name ON existing (name, place)")
        self._db.execute("DELETE FROM existing WHERE id IN (SELECT point_id FROM rows)")
        found = self._db.execute(
            "SELECT r.n, count(*), min(e.id) FROM rows r JOIN existing e"
            " ON e.name = r.name AND e.place = r.place"
            " WHERE r.point_id IS NULL AND r.early IS NULL AND r.late IS NULL"
            " AND (r.code IS NULL OR e.code IS NULL) GROUP BY r.n"
        ).fetchall()
        self.refuse(
            (n, refuse("name", "ambiguous", count=count)) for n, count, _ in found if count > 1
        )
        self.note_points((point_id, n) for n, count, point_id in found if count == 1)

    def plan(self, planned: Iterable[tuple[str, Any, int]]) -> None:
        """What to do with a row: (``create``, ``update`` or ``same``, what of, n)."""
        self._db.executemany(
            "UPDATE rows SET action = ?, planned = ? WHERE n = ?",
            ((action, _encode(what), n) for action, what, n in planned),
        )

    def planned(self, action: str) -> Iterator[list[dict[str, Any]]]:
        last = 0
        while True:
            found = self._db.execute(
                "SELECT n, planned FROM rows WHERE n > ? AND action = ? AND late IS NULL"
                " ORDER BY n LIMIT ?",
                (last, action, CHUNK),
            ).fetchall()
            if not found:
                return
            last = found[-1][0]
            yield [_decode(planned) for _, planned in found]

    # --- what came of it --------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Rows by what is done with them, ``refused`` among it."""
        counted = dict(
            self._db.execute(
                "SELECT CASE WHEN early IS NOT NULL OR late IS NOT NULL THEN 'refused'"
                " ELSE action END, count(*) FROM rows GROUP BY 1"
            )
        )
        return {name: counted.get(name, 0) for name in ("create", "update", "same", "refused")}

    def refused(self, limit: int = -1) -> Iterator[RefusedRow]:
        """Refused rows in the file's order. limit: -1 for all."""
        for n, sheet, row, early, late in self._db.execute(
            "SELECT n, sheet, row, early, late FROM rows"
            " WHERE early IS NOT NULL OR late IS NOT NULL ORDER BY n LIMIT ?",
            (limit,),
        ):
            refusals = (*_read_refusals(early or b"[]"), *_read_refusals(late or b"[]"))
            yield RefusedRow(n=n, sheet=sheet, row=row, refusals=refusals)

    def positions(self) -> Iterator[tuple[int, float, float]]:
        """Row number in its sheet, longitude and latitude as they stand in the file."""
        yield from self._db.execute(
            "SELECT row, longitude, latitude FROM rows WHERE longitude IS NOT NULL ORDER BY n"
        )


def _joined(known: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *more)))[:100]
