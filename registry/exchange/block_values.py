"""From the cells of many rows to typed values of points, a column at a time. No I/O.

What repeats in a column is read once; texts and numbers that nothing is wrong with are read all
together. The rules are those of `row_values.read_cell`, whichever way is taken.
"""

import dataclasses
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring as _quoted
from typing import Any

import msgspec
import numpy
from numpy.typing import NDArray

from registry.exchange.columns import Columns
from registry.exchange.coordinates import System, to_wgs84_all
from registry.exchange.reasons import Refusal, refuse
from registry.exchange.row_values import FORMULA, CellRefused, read_cell
from registry.machine_file import ATTRIBUTES
from registry.point_rules import MAX_ATTRIBUTES_BYTES

FIELDS = (
    *("id", "code", "name", "place", "longitude", "latitude", "category", "ownership", "host"),
    *("channel_number", "masked", "organization", "assigned_by"),
)
MAX_REMEMBERED = 20_000
"""Different values of a column of which it is kept what they mean."""

_to_json = msgspec.json.Encoder().encode
_IDS = re.compile(r"(?:(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?\n)*")
_CERTAINLY_SHORT = MAX_ATTRIBUTES_BYTES // 12
"""Characters of a JSON text whose escapes cannot make it longer than attributes may be."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockValues:
    """columns: for each of `FIELDS` a value per row, None where the row does not say. attributes:
    a JSON object as text. raw_longitude, raw_latitude: before conversion, None where they are the
    same. refusals: by the number of the row in the block; a row without is good."""

    columns: Mapping[str, Sequence[Any]]
    attributes: Sequence[str | None]
    raw_longitude: Sequence[float | None]
    raw_latitude: Sequence[float | None]
    refusals: Mapping[int, tuple[Refusal, ...]]


class BlockReader:
    """Reads blocks below the same header. system: in which longitude and latitude stand."""

    def __init__(self, columns: Columns, system: System) -> None:
        self._columns = columns
        self._system = system
        self._known: dict[int, dict[Any, Any]] = {index: {} for index in columns.fields}

    def read(self, rows: Sequence[Sequence[Any]]) -> BlockValues:
        refusals: dict[int, list[Refusal]] = {}
        cells = self._columns_of(rows, refusals)
        nothing: Sequence[Any] = [None] * len(rows)
        values: dict[str, Sequence[Any]] = dict.fromkeys(FIELDS, nothing)
        documents: Sequence[Any] | None = None
        pieces: list[Sequence[str | None]] = []
        for index, field in self._columns.fields.items():
            read = self._read(index, field, cells[index], refusals)
            if field == "attributes":
                documents = read
            elif field.startswith("attributes."):
                pieces.append(read)
            else:
                values[field] = read
        raw = self._place(values, refusals)
        attributes = _joined(pieces, len(rows))
        if documents is not None and any(documents):
            attributes = _merged(documents, attributes, refusals)
        return BlockValues(
            columns=values,
            attributes=attributes,
            raw_longitude=raw[0],
            raw_latitude=raw[1],
            refusals={number: tuple(found) for number, found in sorted(refusals.items())},
        )

    def _columns_of(
        self, rows: Sequence[Sequence[Any]], refusals: dict[int, list[Refusal]]
    ) -> list[Sequence[Any]]:
        """The cells below each header. Rows that end early are empty there."""
        width = len(self._columns.headers)
        if set(map(len, rows)) != {width}:
            even: list[Sequence[Any]] = []
            for number, row in enumerate(rows):
                if any(cell not in (None, "") for cell in row[width:]):
                    refusals[number] = [refuse("row", "short_row")]
                even.append((*row[:width], *[None] * (width - len(row))))
            rows = even
        return list(zip(*rows, strict=True))

    def _read(
        self, index: int, field: str, cells: Sequence[Any], refusals: dict[int, list[Refusal]]
    ) -> Sequence[Any]:
        at_once = _AT_ONCE.get(field)
        if at_once is not None and (values := at_once(cells)) is not None:
            return values
        known = self._known[index]
        try:
            plain = set(map(type, cells)) == {str}
            # 1, 1.0 and True are equal and yet not the same.
            keys = cells if plain else list(zip(map(type, cells), cells, strict=True))
            new = set(keys) - known.keys()
        except TypeError:  # a list or an object
            return self._one_by_one(index, field, cells, refusals)
        if len(new) > len(cells) // 2 and plain and field in _TEXT_ATTRIBUTES:
            texts = _text_attributes(cells)
            if texts is not None:
                name = field[len("attributes.") :]
                return [None if text is None else f'"{name}":{_quoted(text)}' for text in texts]
        if len(known) + len(new) > MAX_REMEMBERED:
            known.clear()
            new = set(keys)
        for key in new:
            known[key] = _value(field, key if plain else key[1])
        values = list(map(known.__getitem__, keys))
        bad = _Bad in set(map(type, values))
        return self._without_bad(index, field, cells, values, refusals) if bad else values

    def _one_by_one(
        self, index: int, field: str, cells: Sequence[Any], refusals: dict[int, list[Refusal]]
    ) -> Sequence[Any]:
        values = [_value(field, cell) for cell in cells]
        return self._without_bad(index, field, cells, values, refusals)

    def _without_bad(
        self,
        index: int,
        field: str,
        cells: Sequence[Any],
        values: list[Any],
        refusals: dict[int, list[Refusal]],
    ) -> Sequence[Any]:
        header = self._columns.headers[index]
        for number, value in enumerate(values):
            if isinstance(value, _Bad):
                shown = "" if cells[number] is FORMULA else cells[number]
                found = refuse(field, value.reason, header, shown, **value.details)
                refusals.setdefault(number, []).append(found)
                values[number] = None
        return values

    def _place(
        self, values: dict[str, Sequence[Any]], refusals: dict[int, list[Refusal]]
    ) -> tuple[Sequence[float | None], Sequence[float | None]]:
        """Convert the positions; those from before, where that is not the same."""
        longitudes = numpy.array(values["longitude"], dtype=float)
        latitudes = numpy.array(values["latitude"], dtype=float)
        half = numpy.isnan(longitudes) != numpy.isnan(latitudes)
        if half.any():
            for number in numpy.flatnonzero(half).tolist():
                found = refusals.setdefault(number, [])
                if not any(each.field in ("longitude", "latitude") for each in found):
                    lacking = "longitude" if values["longitude"][number] is None else "latitude"
                    found.append(refuse(lacking, "half_position"))
            longitudes[half] = latitudes[half] = numpy.nan
            values["longitude"] = _or_none(longitudes)
            values["latitude"] = _or_none(latitudes)
        if self._system == "wgs84":
            nothing: Sequence[None] = [None] * len(longitudes)
            return nothing, nothing
        raw = values["longitude"], values["latitude"]
        converted = to_wgs84_all(longitudes, latitudes, self._system)
        values["longitude"], values["latitude"] = map(_or_none, converted)
        return raw


@dataclasses.dataclass(frozen=True, slots=True)
class _Bad:
    """What a cell means about which something is wrong."""

    reason: str
    details: Mapping[str, Any]


def _value(field: str, cell: Any) -> Any:
    """What a cell means: of an attribute, its member of a JSON object as text."""
    if cell is None or cell == "":
        return None
    try:
        value = read_cell(field, cell)
    except CellRefused as refused:
        return _Bad(refused.reason, refused.details)
    if value is None or not field.startswith("attributes."):
        return value
    # The names are ours and need no escapes.
    return f'"{field[len("attributes.") :]}":{_to_json(value).decode()}'


def _or_none(numbers: NDArray[numpy.float64]) -> list[float | None]:
    values: list[float | None] = numbers.tolist()
    for number in numpy.flatnonzero(numpy.isnan(numbers)).tolist():
        values[number] = None
    return values


# --- attributes -----------------------------------------------------------------------------------


def _joined(pieces: Sequence[Sequence[str | None]], length: int) -> list[str | None]:
    """The members of each row as one JSON object."""
    if not pieces:
        return [None] * length
    joined = (",".join(filter(None, each)) for each in zip(*pieces, strict=True))
    return [f"{{{members}}}" if members else None for members in joined]


def _merged(
    documents: Sequence[dict[str, Any] | None],
    attributes: Sequence[str | None],
    refusals: dict[int, list[Refusal]],
) -> list[str | None]:
    """With the column that holds all attributes; those with a column of their own come first."""
    merged = list(attributes)
    for number, document in enumerate(documents):
        if not document:
            continue
        known = merged[number]
        whole = {**document, **json.loads(known)} if known else document
        text = _to_json(whole).decode()
        if len(text) > _CERTAINLY_SHORT and len(json.dumps(whole)) > MAX_ATTRIBUTES_BYTES:
            why = f"must be at most {MAX_ATTRIBUTES_BYTES} bytes of JSON"
            refusals.setdefault(number, []).append(refuse("attributes", "invalid", detail=why))
        merged[number] = text
    return merged


# --- columns all at once: None where something may be wrong, or not as plain as it seems ----------


def _plain(cells: Sequence[Any]) -> str | None:
    """All cells, each with a line feed behind, when they are texts that reading leaves as they
    are but for blanks around them."""
    try:
        joined = "\n".join(cells)
        joined.encode()
    except (TypeError, UnicodeEncodeError):
        return None
    if "'" in joined or "\x00" in joined or not unicodedata.is_normalized("NFC", joined):
        return None
    return joined + "\n"


def _texts(most: int) -> Callable[[Sequence[Any]], list[str | None] | None]:
    def read(cells: Sequence[Any]) -> list[str | None] | None:
        if _plain(cells) is None or max(map(len, cells)) > most:
            return None
        return [cell.strip() or None for cell in cells]

    return read


def _hosts(cells: Sequence[Any]) -> list[str | None] | None:
    joined = _plain(cells)
    if joined is None or not joined.isascii() or max(map(len, cells)) > 255:
        return None
    return [cell.strip().lower() or None for cell in cells]


def _codes(cells: Sequence[Any]) -> list[str | None] | None:
    joined = _plain(cells)
    if joined is None or not joined.isascii() or not set(map(len, cells)) <= {0, 20}:
        return None
    together = "".join(cells)
    if together and not together.isdigit():
        return None
    return [cell or None for cell in cells]


def _ids(cells: Sequence[Any]) -> list[str | None] | None:
    try:
        joined = "\n".join(cells).lower() + "\n"
    except TypeError:
        return None
    if not _IDS.fullmatch(joined):
        return None
    return [cell or None for cell in joined[:-1].split("\n")]


def _degrees(most: int) -> Callable[[Sequence[Any]], list[float | None] | None]:
    def read(cells: Sequence[Any]) -> list[float | None] | None:
        try:
            values = [None if cell is None or cell == "" else float(cell) for cell in cells]
        except (TypeError, ValueError, OverflowError):
            return None
        numbers = numpy.array([0.0 if value is None else value for value in values])
        # Not a number is less than nothing, so this finds it too.
        return values if bool((abs(numbers) <= most).all()) else None

    return read


_text_attributes = _texts(400)
_TEXT_ATTRIBUTES = frozenset(
    f"attributes.{each.name}" for each in ATTRIBUTES.values() if each.kind == "text"
)
_AT_ONCE: Mapping[str, Callable[[Sequence[Any]], Sequence[Any] | None]] = {
    "id": _ids,
    "code": _codes,
    "name": _texts(200),
    "place": _texts(400),
    "longitude": _degrees(180),
    "latitude": _degrees(90),
    "host": _hosts,
}
