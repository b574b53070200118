"""Rows of CSV files: UTF-8 with and without BOM, UTF-16 with one, else GB18030."""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path

from registry.exchange.records import Block, FileRefused, under_headers

_BLOCK = 1 << 20
_DELIMITERS = ",\t;|"


def read_csv(path: Path) -> Iterator[Block]:
    """Raises: FileRefused for bytes of no encoding that we know, or that are no CSV."""
    encoding = encoding_of(path)
    with path.open("rb") as raw, io.TextIOWrapper(raw, encoding, newline="") as file:
        first = file.readline(65_536)
        file.seek(0)
        delimiter = max(_DELIMITERS, key=first.count)
        reader = csv.reader(file, delimiter=delimiter)
        try:
            yield from under_headers("", reader, raw.tell)
        except csv.Error as error:
            raise FileRefused("no_csv", line=reader.line_num, why=error) from None


def encoding_of(path: Path) -> str:
    """The encoding that all bytes of the file are valid in. Raises: FileRefused."""
    with path.open("rb") as file:
        begin = file.read(4)
    if begin.startswith(codecs.BOM_UTF8):
        candidates = ["utf-8-sig"]
    elif begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ["utf-16"]
    else:
        candidates = ["utf-8", "gb18030"]
    for encoding in candidates:
        line = _first_invalid_line(path, encoding)
        if line is None:
            return encoding
    named = (" nor ".join(candidates), "或 ".join(candidates))
    raise FileRefused("no_encoding", line=line, encodings=named)


def _first_invalid_line(path: Path, encoding: str) -> int | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    with path.open("rb") as file:
        try:
            while block := file.read(_BLOCK):
                lines += decoder.decode(block).count("\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            return lines + error.object[: error.start].count(b"\n")
    return None
