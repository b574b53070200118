"""Rows of CSV files: UTF-8 with and without BOM, UTF-16 with one, else GB18030."""

import codecs
import csv
import dataclasses
import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.exchange.records import (
    HEADER_WITHIN,
    Block,
    FileRefused,
    Naming,
    names_of_points,
    under_headers,
)

MAX_ROW_CHARACTERS = 1 << 18

_BLOCK = MAX_ROW_CHARACTERS // 2
_BEGIN = 65_536
_DELIMITERS = ",\t;|"
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WORKBOOKS = (b"PK\x03\x04", bytes.fromhex("d0cf11e0a1b11ae1"))
_HAN = "\u2e80"
_BY_CHANCE = 1000
"""Of so many lines in GB18030 one may look like UTF-8."""


def read_csv(path: Path, names: Naming = names_of_points) -> Iterator[Block]:
    """Raises: FileRefused for bytes of no encoding that we know, or that are no CSV."""
    seen = _seen(path)
    with path.open("rb") as raw, io.TextIOWrapper(raw, seen.encoding, newline="") as file:
        delimiter = _delimiter(file.read(_BEGIN), names)
        file.seek(0)
        # Only quotes make a row of several lines.
        lines = _Lines(file) if seen.has_quotes else file
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        rows = lines.rows(reader) if isinstance(lines, _Lines) else reader
        try:
            if not (yield from under_headers("", rows, raw.tell, names)):
                raise FileRefused("empty")
        except csv.Error as error:
            line = lines.began if isinstance(lines, _Lines) else reader.line_num
            raise FileRefused("no_csv", line=line, why=_why(error)) from None


def _why(error: csv.Error) -> tuple[str, str]:
    """In English and Chinese."""
    text = str(error)
    if "end of data" in text:
        return "a quote is opened and never closed", "引号没有闭合"
    if "field limit" in text:
        most = csv.field_size_limit()
        return (
            f"a cell has more than {most} characters; perhaps a quote is never closed",
            f"有单元格超过 {most} 个字符，可能是引号没有闭合",
        )
    if "expected after" in text:
        return (
            "something stands between a closing quote and the next cell",
            "引号闭合之后、下一个单元格之前有其他字符",
        )
    return text, text


def _delimiter(begin: str, names: Naming) -> str:
    """What stands between the cells: with it the first rows have the most names that we know.
    begin: of the file."""
    first = begin.partition("\n")[0]

    def fits(delimiter: str) -> tuple[int, int]:
        known = 0
        reader = csv.reader(io.StringIO(begin, newline=""), delimiter=delimiter)
        try:
            for _, row in zip(range(HEADER_WITHIN), filter(None, reader), strict=False):
                known = max(known, names(row[:1000]))
        except csv.Error:
            pass
        return known, first.count(delimiter)

    return max(_DELIMITERS, key=fits)


class _Lines:
    """Lines of a file for a reader of CSV, which no row may join to too long a text. began: the
    line in which the row in hand begins."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file
        self._size = 0
        self.began = 1

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise StopIteration
        self._size += len(line)
        if self._size > MAX_ROW_CHARACTERS:
            raise FileRefused("long_row", line=self.began)
        return line

    def rows(self, reader: Any) -> Iterator[list[str]]:
        for row in reader:
            self._size = 0
            self.began = reader.line_num + 1
            yield row


# --- the encoding ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    encoding: str
    has_quotes: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Broken:
    """line: the first that is not valid."""

    line: int


def encoding_of(path: Path) -> str:
    """The encoding that all bytes of the file are valid in. Raises: FileRefused."""
    return _seen(path).encoding


def _seen(path: Path) -> _Seen:
    with path.open("rb") as file:
        begin = file.read(4096)
    if begin.startswith(_WORKBOOKS):
        raise FileRefused("is_workbook")
    marked = next((encoding for bom, encoding in _BOMS.items() if begin.startswith(bom)), None)
    if marked is None and begin.count(0) * 8 > len(begin):
        raise FileRefused("no_mark")
    seen = _looked_through(path, marked or "utf-8")
    if isinstance(seen, _Seen):
        return seen
    if marked is not None:
        raise FileRefused("no_encoding", line=seen.line, encodings=(f"not {marked}", marked))
    chinese = _looked_through(path, "gb18030")
    lines = _lines_in_utf8(path)
    if lines is not None:
        raise FileRefused("two_encodings", line=lines[0], other=lines[1])
    if isinstance(chinese, _Broken):
        named = ("neither utf-8 nor gb18030", "utf-8 或 gb18030")
        raise FileRefused("no_encoding", line=chinese.line, encodings=named)
    return chinese


def _looked_through(path: Path, encoding: str) -> _Seen | _Broken:
    """Raises: FileRefused for a line that is too long."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines, has_quotes = 1, False
    with path.open("rb") as file:
        try:
            while block := file.read(_BLOCK):
                text = decoder.decode(block)
                ended = text.count("\n")
                if not ended and len(block) == _BLOCK and "\r" not in text:
                    raise FileRefused("long_row", line=lines)
                lines += ended
                has_quotes = has_quotes or '"' in text
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            return _Broken(lines + error.object[: error.start].count(b"\n"))
    return _Seen(encoding, has_quotes)


def _lines_in_utf8(path: Path) -> tuple[int, int] | None:
    """Of a file that is not UTF-8 as a whole: the first line of Chinese text that is, and the
    first that is not; None where hardly any is, so that it has another encoding."""
    valid, invalid = [0, 0], [0, 0]
    with path.open("rb") as file:
        lines = iter(functools.partial(file.readline, _BLOCK), b"")
        for number, line in enumerate(lines, 1):
            if line.isascii():
                continue
            try:
                # Two such by chance in GB18030 are three rare characters one after another.
                is_valid = sum(each >= _HAN for each in line.decode()) >= 2
            except UnicodeDecodeError:
                counted = invalid
            else:
                if not is_valid:
                    continue
                counted = valid
            counted[0] += 1
            counted[1] = counted[1] or number
    if valid[0] * _BY_CHANCE <= invalid[0]:
        return None
    return valid[1], invalid[1]
