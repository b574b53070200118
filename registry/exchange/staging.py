"""The rows of one file in a SQLite file of their own, until they are good enough to be written.

`rows` is what the file says and never changes once it is read; the other tables are what is found
out about it, and `forget` empties them.
"""

import dataclasses
import itertools
import operator
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from registry.exchange.block_values import FIELDS, BlockReader, BlockValues
from registry.exchange.columns import Columns, read_header
from registry.exchange.coordinates import System
from registry.exchange.files import Format, read_blocks
from registry.exchange.reasons import Refusal, refuse
from registry.exchange.records import Block, FileRefused

CHUNK = 10_000
_NAMED = 9
"""Rows of a key that are named to the others."""
_SCHEMA = """
CREATE TABLE rows (
    n INTEGER PRIMARY KEY, sheet TEXT NOT NULL, row INTEGER NOT NULL,
    id TEXT, code TEXT, name TEXT, place TEXT, longitude REAL, latitude REAL, category INTEGER,
    ownership TEXT, host TEXT, channel_number INTEGER, masked INTEGER, organization TEXT,
    assigned_by TEXT, attributes TEXT, raw_longitude REAL, raw_latitude REAL
);
CREATE TABLE refusals (
    n INTEGER NOT NULL, late INTEGER NOT NULL, why BLOB NOT NULL, PRIMARY KEY (n, late)
) WITHOUT ROWID;
CREATE TABLE meant (n INTEGER PRIMARY KEY, point_id TEXT NOT NULL);
CREATE TABLE existing (id TEXT PRIMARY KEY, code TEXT, name TEXT, place TEXT);
CREATE TABLE owners (
    owner INTEGER PRIMARY KEY, organization_id TEXT NOT NULL, home_id TEXT NOT NULL,
    assigned_by TEXT NOT NULL, path TEXT NOT NULL
);
CREATE TABLE created (n INTEGER PRIMARY KEY, id TEXT NOT NULL, owner INTEGER NOT NULL);
CREATE TABLE updated (n INTEGER PRIMARY KEY, planned BLOB NOT NULL);
"""
_INDEXES = """
CREATE INDEX rows_id ON rows (id) WHERE id IS NOT NULL;
CREATE INDEX rows_code ON rows (code) WHERE code IS NOT NULL;
"""
_FOUND_OUT = ("meant", "existing", "owners", "created", "updated")
_COLUMNS = ("n", "sheet", "row", *FIELDS, "attributes", "raw_longitude", "raw_latitude")
_INSERT = f"INSERT INTO rows ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
GOOD = "n NOT IN (SELECT n FROM refusals)"
LOOSE = f"{GOOD} AND n NOT IN (SELECT n FROM meant)"
"""SQL: nothing is wrong with the row so far; and no point that there is was found to be meant."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_read_refusals = msgspec.json.Decoder(tuple[Refusal, ...]).decode


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
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-32000"):
            self.db.execute(f"PRAGMA {pragma}").close()
        self.db.executescript(_SCHEMA)
        self.total = 0
        self.ignored_columns: tuple[str, ...] = ()
        self.repeated_columns: tuple[str, ...] = ()
        self.system: System = "wgs84"

    def close(self) -> None:
        self.db.close()

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
        headers: tuple[str, ...] | None = None
        reader: BlockReader | None = None
        self.db.execute("BEGIN")
        for block in read_blocks(path, kind):
            if reader is None or block.headers != headers:
                headers = block.headers
                reader = BlockReader(self._note(block, system), self.system)
            self._insert(block, reader.read(block.cells))
            keep_on(self.total)
        self.db.execute("COMMIT")
        self.db.executescript(_INDEXES)
        # Never committed: nobody else reads the file, and each statement would be by itself.
        self.db.execute("BEGIN")
        keep_on(self.total)

    def _note(self, block: Block, system: System | None) -> Columns:
        columns = read_header(block.headers)
        if columns.contradicts or (system and columns.system and system != columns.system):
            raise FileRefused("two_systems", block.sheet)
        self.system = system or columns.system or "wgs84"
        self.ignored_columns = _joined(self.ignored_columns, columns.ignored)
        self.repeated_columns = _joined(self.repeated_columns, columns.repeated)
        return columns

    def _insert(self, block: Block, values: BlockValues) -> None:
        first = self.total + 1
        self.total += len(block.rows)
        rows = zip(
            range(first, self.total + 1),
            itertools.repeat(block.sheet),
            block.rows,
            *(values.columns[field] for field in FIELDS),
            values.attributes,
            values.raw_longitude,
            values.raw_latitude,
            strict=False,
        )
        self.db.executemany(_INSERT, rows)
        refused = ((first + at, _encode(found)) for at, found in values.refusals.items())
        self.db.executemany("INSERT INTO refusals VALUES (?, 0, ?)", refused)

    # --- what is found out ------------------------------------------------------------------------

    def forget(self) -> None:
        """Forget what was found out about the rows, other than by reading them."""
        for table in _FOUND_OUT:
            self.db.execute(f"DELETE FROM {table}")
        self.db.execute("DELETE FROM refusals WHERE late")

    def refuse(self, refused: Iterable[tuple[int, Refusal]]) -> None:
        """Add reasons to rows."""
        for n, refusal in refused:
            before = self.db.execute(
                "SELECT why FROM refusals WHERE n = ? AND late", (n,)
            ).fetchone()
            known = _read_refusals(before[0]) if before else ()
            why = _encode((*known, refusal))
            self.db.execute("INSERT OR REPLACE INTO refusals VALUES (?, 1, ?)", (n, why))

    def refuse_repeated_keys(self) -> None:
        """Each row's key is its id, else its code, else (name, place); one key twice means nobody
        knows which row is right."""
        for key, where in (
            ("id", "id IS NOT NULL"),
            ("code", "code IS NOT NULL"),
            (
                "name, ifnull(place, '')",
                "id IS NULL AND code IS NULL AND name IS NOT NULL",
            ),
        ):
            self._refuse_grouped(f"rows WHERE {where}", key, key.partition(",")[0], "twice")

    def refuse_double_claims(self) -> None:
        """Two rows that were found to mean the same point."""
        self._refuse_grouped(
            f"meant JOIN rows USING (n) WHERE {GOOD}", "point_id", "row", "claimed"
        )

    def _refuse_grouped(self, source: str, key: str, field: str, reason: str) -> None:
        """Give all rows that share a key the reason, naming some of the others. source: SQL with
        a condition."""
        found = self.db.execute(
            f"SELECT n, row, {key} FROM {source} AND ({key}) IN"
            f" (SELECT {key} FROM {source} GROUP BY {key} HAVING count(*) > 1)"
            # Not as an index has them: all is found before the first row is refused.
            f" ORDER BY {key}, +n"
        )
        for _, group in itertools.groupby(found, operator.itemgetter(slice(2, None))):
            rows = iter(group)
            named = list(itertools.islice(rows, _NAMED))
            refused = itertools.chain(named, rows)
            self.refuse((n, refuse(field, reason, rows=_others(n, named))) for n, *_ in refused)

    def match_names(self) -> None:
        """Give rows without a point the one existing point of their name and place that no other
        row means by id or code. A row with a code takes none that has another."""
        self.db.execute("CREATE INDEX IF NOT EXISTS existing_name ON existing (name, place)")
        self.db.execute("DELETE FROM existing WHERE id IN (SELECT point_id FROM meant)")
        of_one_name = (
            "rows AS r JOIN existing AS e ON e.name = r.name AND e.place = ifnull(r.place, '')"
        )
        fits = f"{LOOSE} AND (r.code IS NULL OR e.code IS NULL) GROUP BY n"
        for found in self.select("n, count(*), min(e.id)", of_one_name, fits):
            self.refuse(
                (n, refuse("name", "ambiguous", count=count)) for n, count, _ in found if count > 1
            )
            self.insert("meant", ((n, point_id) for n, count, point_id in found if count == 1), 2)

    def refuse_where(self, where: str, refusal: Refusal) -> None:
        """Give the same reason to all rows of a condition in SQL."""
        for found in self.select("n", "rows", where):
            self.refuse((n, refusal) for (n,) in found)

    def select(
        self, columns: str, source: str, where: str = "1", length: int = CHUNK
    ) -> Iterator[list[Any]]:
        """Some tuples at a time, in the file's order, of a table or join that has `n`."""
        statement = f"SELECT {columns} FROM {source} WHERE n BETWEEN ? AND ? AND {where} ORDER BY n"
        for first in range(1, self.total + 1, length):
            found = self.db.execute(statement, (first, first + length - 1)).fetchall()
            if found:
                yield found

    def insert(self, table: str, rows: Iterable[Sequence[Any]], width: int) -> None:
        """Rows into one of the tables of what is found out; such as are there already stay."""
        places = ", ".join("?" * width)
        self.db.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({places})", rows)

    def plan_updates(self, planned: Iterable[tuple[int, Any]]) -> None:
        """(n, what is done with its point)."""
        self.insert("updated", ((n, _encode(what)) for n, what in planned), 2)

    def planned_updates(self, length: int) -> Iterator[list[dict[str, Any]]]:
        for chunk in self.select("planned", "updated", GOOD, length):
            yield [_decode(planned) for (planned,) in chunk]

    # --- what came of it --------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Rows by what is done with them: ``create``, ``update``, ``same``, ``refused``."""

        def count(what: str) -> int:
            found: int = self.db.execute(f"SELECT {what}").fetchone()[0]
            return found

        created = count(f"count(*) FROM created WHERE {GOOD}")
        updated = count(f"count(*) FROM updated WHERE {GOOD}")
        refused = count("count(DISTINCT n) FROM refusals")
        same = self.total - created - updated - refused
        return {"create": created, "update": updated, "same": same, "refused": refused}

    def refused(self, limit: int = -1) -> Iterator[RefusedRow]:
        """Refused rows in the file's order. limit: -1 for all."""
        found = self.db.execute(
            "SELECT n, sheet, row, group_concat(why, '\n') FROM"
            " (SELECT n, why FROM refusals ORDER BY n, late) JOIN rows USING (n)"
            " GROUP BY n ORDER BY n LIMIT ?",
            (limit,),
        )
        for n, sheet, row, why in found:
            refusals = tuple(each for line in why.split("\n") for each in _read_refusals(line))
            yield RefusedRow(n=n, sheet=sheet, row=row, refusals=refusals)


def _others(n: int, named: Sequence[tuple[Any, ...]]) -> str:
    return ", ".join(str(row) for other, row, *_ in named if other != n)


def _joined(known: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *more)))[:100]
