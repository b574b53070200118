"""What all readers of files give, and how the header row is found."""

import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

from registry.errors import Invalid
from registry.exchange.columns import read_header
from registry.exchange.reasons import file_text

HEADER_WITHIN = 10
MAX_COLUMNS = 1000
MAX_FILE_BYTES = 200 * 1024 * 1024
MAX_BLANK_ROWS = 2_000_000
"""One after another: more than any sheet has."""
BLOCK_ROWS = 2_000
BLOCK_CELLS = 200_000
BLOCK_CHARACTERS = 8 << 20
_SOME_ROWS = 100


class FileRefused(Invalid):
    """A file that cannot be read at all, with a reason that says where.

    reason: a key of `reasons.FILE_TEXTS`. sheet: in which; empty where a file has none.
    """

    def __init__(self, reason: str, sheet: str = "", **details: Any) -> None:
        self._said = (reason, sheet, details)
        super().__init__(Invalid.at("file", self.text()).reasons[0])

    def text(self, language: str = "en") -> str:
        reason, sheet, details = self._said
        return file_text(reason, language, sheet, details)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A row below its header. sheet: empty where a file has none. row: 1-based, as a spreadsheet
    shows it. Records under the same header share the same tuple."""

    sheet: str
    row: int
    headers: tuple[str, ...]
    cells: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some rows, one after another, below the same header. rows: their 1-based numbers, as long as
    cells, which may be of different widths."""

    sheet: str
    headers: tuple[str, ...]
    rows: Sequence[int]
    cells: Sequence[Sequence[Any]]

    def records(self) -> Iterator[Record]:
        for row, cells in zip(self.rows, self.cells, strict=True):
            yield Record(sheet=self.sheet, row=row, headers=self.headers, cells=tuple(cells))


Naming = Callable[[Sequence[str]], int]
"""How many of these cells are names of columns that somebody knows."""


def names_of_points(cells: Sequence[str]) -> int:
    return len(read_header(cells).fields)


def under_headers(
    sheet: str,
    rows: Iterable[Sequence[Any]],
    read: Callable[[], int] = lambda: 0,
    names: Naming = names_of_points,
) -> Generator[Block, None, bool]:
    """Rows of a sheet in blocks, blank ones left out. The header is the row, among the first ten
    that are not blank, with the most names that we know; those above it are a title.

    read: how much of the file the rows so far are made of, so that no block grows too large.
    Returns: whether any row is not blank. Raises: FileRefused where no row knows any.
    """
    source = iter(rows)
    waiting: list[tuple[int, Sequence[Any]]] = []
    done = 0
    for cells in itertools.islice(source, MAX_BLANK_ROWS):
        done += 1
        if not is_blank(cells):
            waiting.append((done, cells))
            if len(waiting) == HEADER_WITHIN:
                break
    if not waiting:
        return False
    known = [names(_texts(cells)) for _, cells in waiting]
    where = known.index(max(known))
    if known[where] == 0:
        raise FileRefused("no_header", sheet)
    headers = _texts(waiting[where][1])
    if len(headers) > MAX_COLUMNS:
        raise FileRefused("too_many_columns", sheet, most=MAX_COLUMNS)
    numbers = [number for number, _ in waiting[where + 1 :]]
    kept = [cells for _, cells in waiting[where + 1 :]]
    began, blank = read(), 0
    while some := list(itertools.islice(source, _SOME_ROWS)):
        filled = [at for at, cells in enumerate(some, done + 1) if not is_blank(cells)]
        numbers.extend(filled)
        whole = len(filled) == len(some)
        blank = 0 if filled else blank + len(some)
        if blank > MAX_BLANK_ROWS:
            raise FileRefused("too_many_blank", sheet, most=MAX_BLANK_ROWS)
        kept.extend(some if whole else (some[at - done - 1] for at in filled))
        done += len(some)
        full = len(kept) >= BLOCK_ROWS or len(kept) * len(some[0]) >= BLOCK_CELLS
        if kept and (full or read() - began >= BLOCK_CHARACTERS):
            yield Block(sheet=sheet, headers=headers, rows=numbers, cells=kept)
            numbers, kept, began = [], [], read()
    if kept:
        yield Block(sheet=sheet, headers=headers, rows=numbers, cells=kept)
    return True


def in_blocks(
    rows: Iterable[tuple[str, tuple[str, ...], int, Sequence[Any]]],
    read: Callable[[], int] = lambda: 0,
) -> Iterator[Block]:
    """(sheet, headers, row, cells) of rows as blocks; another one begins with other headers."""
    sheet = ""
    headers: tuple[str, ...] = ()
    numbers: list[int] = []
    kept: list[Sequence[Any]] = []
    width, began = 0, read()
    for of, below, number, cells in rows:
        full = len(numbers) >= BLOCK_ROWS or width >= BLOCK_CELLS
        if numbers and (
            full or below is not headers or of != sheet or read() - began >= BLOCK_CHARACTERS
        ):
            yield Block(sheet=sheet, headers=headers, rows=numbers, cells=kept)
            numbers, kept, width, began = [], [], 0, read()
        sheet, headers = of, below
        numbers.append(number)
        kept.append(cells)
        width += len(cells)
    if numbers:
        yield Block(sheet=sheet, headers=headers, rows=numbers, cells=kept)


def is_blank(cells: Sequence[Any]) -> bool:
    for cell in cells:
        if cell is None or cell == "" or (isinstance(cell, str) and cell.isspace()):
            continue
        return False
    return True


def _texts(cells: Sequence[Any]) -> tuple[str, ...]:
    texts = ["" if cell is None else str(cell) for cell in cells]
    while texts and not texts[-1].strip():
        texts.pop()
    return tuple(texts)
