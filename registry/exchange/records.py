"""What all readers of files give, and how the header row is found."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from registry.errors import Invalid
from registry.exchange.columns import read_header

HEADER_WITHIN = 10
MAX_COLUMNS = 1000
MAX_FILE_BYTES = 200 * 1024 * 1024


class FileRefused(Invalid):
    """A file that cannot be read at all, with a reason that says where."""

    def __init__(self, reason: str) -> None:
        super().__init__(Invalid.at("file", reason).reasons[0])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A row below its header. sheet: empty where a file has none. row: 1-based, as a spreadsheet
    shows it. Records under the same header share the same tuple."""

    sheet: str
    row: int
    headers: tuple[str, ...]
    cells: tuple[Any, ...]


def under_headers(sheet: str, rows: Iterable[Sequence[Any]]) -> Iterator[Record]:
    """Rows of a sheet as records, blank ones left out. The header is the row, among the first ten
    that are not blank, with the most names that we know; those above it are a title.

    Raises: FileRefused where no row knows any.
    """
    waiting: list[tuple[int, tuple[Any, ...]]] = []
    numbered = ((number, tuple(cells)) for number, cells in enumerate(rows, 1))
    filled = ((number, cells) for number, cells in numbered if not is_blank(cells))
    for each in filled:
        waiting.append(each)
        if len(waiting) == HEADER_WITHIN:
            break
    if not waiting:
        return
    known = [len(read_header(_texts(cells)).fields) for _, cells in waiting]
    where = known.index(max(known))
    if known[where] == 0:
        raise FileRefused(
            f"{f'sheet {sheet}: ' if sheet else ''}none of the first rows has a column name that "
            "is known, such as name or 名称"
        )
    headers = _texts(waiting[where][1])
    if len(headers) > MAX_COLUMNS:
        raise FileRefused(f"more than {MAX_COLUMNS} columns")
    for number, cells in waiting[where + 1 :]:
        yield Record(sheet=sheet, row=number, headers=headers, cells=cells)
    for number, cells in filled:
        yield Record(sheet=sheet, row=number, headers=headers, cells=cells)


def is_blank(cells: Sequence[Any]) -> bool:
    return all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells)


def _texts(cells: Sequence[Any]) -> tuple[str, ...]:
    texts = ["" if cell is None else str(cell) for cell in cells]
    while texts and not texts[-1].strip():
        texts.pop()
    return tuple(texts)
