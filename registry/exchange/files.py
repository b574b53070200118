"""Which reader a file needs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from registry.exchange.csv_file import read_csv
from registry.exchange.geojson_file import read_geojson
from registry.exchange.records import (
    MAX_FILE_BYTES,
    Block,
    FileRefused,
    Naming,
    Record,
    names_of_points,
)
from registry.exchange.xlsx_file import read_xlsx

Format = Literal["csv", "xlsx", "geojson"]
FORMATS: tuple[Format, ...] = get_args(Format)
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".geojson": "geojson",
    ".json": "geojson",
}


def format_of(name: str) -> Format:
    """The format that a file's name says. Raises: FileRefused."""
    suffix = Path(name).suffix.lower()
    if suffix not in _SUFFIXES:
        raise FileRefused("no_such_format", suffix=suffix or ("nothing", "无"))
    return _SUFFIXES[suffix]


def check_size(size: int) -> None:
    """size: of a file, bytes. Raises: FileRefused."""
    if size > MAX_FILE_BYTES:
        raise FileRefused("too_large", most=MAX_FILE_BYTES >> 20)


def read_blocks(path: Path, kind: Format, names: Naming = names_of_points) -> Iterator[Block]:
    """The rows of a file, without reading all of it at once. names: by which the header row of a
    table is known. Raises: FileRefused."""
    check_size(path.stat().st_size)
    match kind:
        case "csv":
            return read_csv(path, names)
        case "xlsx":
            return read_xlsx(path, names)
        case "geojson":
            return read_geojson(path)


def read_records(path: Path, kind: Format, names: Naming = names_of_points) -> Iterator[Record]:
    """`read_blocks`, row by row. Raises: FileRefused."""
    for block in read_blocks(path, kind, names):
        yield from block.records()
