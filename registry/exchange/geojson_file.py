"""Features of a GeoJSON FeatureCollection (RFC 7946), one after another."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from registry.exchange.records import FileRefused, Record
from registry.identity import parse_id

_BLOCK = 1 << 18
MAX_VALUE = 16 * 1024 * 1024
"""Characters of one feature, or of one other member of the collection."""


def read_geojson(path: Path) -> Iterator[Record]:
    """Raises: FileRefused for what is no FeatureCollection, saying near which feature."""
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, feature in enumerate(_features(_Buffer(file)), 1):
            names, cells = _row(feature, number)
            yield Record(sheet="", row=number, headers=seen.setdefault(names, names), cells=cells)
            if len(seen) > 1000:
                seen.clear()


def _row(feature: Any, number: int) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise FileRefused(f"item {number} of features is no Feature")
    properties = feature.get("properties") or {}
    if not isinstance(properties, dict):
        raise FileRefused(f"feature {number}: properties must be an object")
    cells = {name: value for name, value in properties.items() if name != "id"}
    # Other programs number features; only what is an id of ours can be meant as one.
    numbered = feature.get("id")
    own = numbered if isinstance(numbered, str) and parse_id(numbered) else None
    own = properties.get("id", own)
    return ("id", *cells, "longitude", "latitude"), (
        own,
        *cells.values(),
        *_position(feature.get("geometry")),
    )


def _position(geometry: Any) -> tuple[Any, Any]:
    if geometry is None:
        return None, None
    if isinstance(geometry, Mapping) and geometry.get("type") == "Point":
        coordinates = geometry.get("coordinates")
        if isinstance(coordinates, list) and len(coordinates) >= 2:
            return coordinates[0], coordinates[1]
    shown = geometry.get("type") if isinstance(geometry, Mapping) else geometry
    return f"geometry {shown}", f"geometry {shown}"


class _Buffer:
    """Text of a file, of which only the part in hand is kept."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._decoder = json.JSONDecoder()
        self.at = 0

    def more(self) -> bool:
        try:
            block = self._file.read(max(_BLOCK, len(self._text) - self.at))
        except UnicodeDecodeError as error:
            raise FileRefused(f"not UTF-8 near byte {error.start}") from None
        self._text = self._text[self.at :] + block
        self.at = 0
        return bool(block)

    def peek(self) -> str:
        """The next character that is no blank, empty at the end."""
        while True:
            while self.at < len(self._text):
                if self._text[self.at] not in " \t\r\n":
                    return self._text[self.at]
                self.at += 1
            if not self.more():
                return ""

    def take(self, wanted: str, where: str) -> None:
        found = self.peek()
        if not found or found not in wanted:
            raise FileRefused(
                f"{where}: expected {' or '.join(wanted)}, found {found or 'the end'}"
            )
        self.at += 1

    def value(self, where: str) -> Any:
        """The JSON value that begins here."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self.at)
            except json.JSONDecodeError as error:
                wrong, why = error, error.msg
            except RecursionError:
                raise FileRefused(f"{where}: nested too deeply") from None
            except ValueError as error:
                raise FileRefused(f"{where}: {error}") from None
            else:
                size = end - self.at
                # A number could go on in the next block; what is read before it is dropped then.
                if end < len(self._text) or not self.more():
                    self.at += size
                    return value
                continue
            if len(self._text) - self.at > MAX_VALUE:
                raise FileRefused(f"{where}: larger than {MAX_VALUE} characters, or no JSON: {why}")
            if not self.more():
                raise FileRefused(f"{where}: no JSON: {wrong.msg}") from None


def _features(buffer: _Buffer) -> Iterator[Any]:
    buffer.take("{", "the file")
    found = False
    while buffer.peek() != "}":
        name = buffer.value("a member of the collection")
        buffer.take(":", f"after {name!r}")
        if name == "features" and buffer.peek() == "[":
            found = True
            yield from _items(buffer)
        else:
            value = buffer.value(f"member {name!r}")
            if name == "type" and value != "FeatureCollection":
                raise FileRefused(f"a FeatureCollection is expected, this is a {value}")
        if buffer.peek() == ",":
            buffer.take(",", "the collection")
        elif buffer.peek() != "}":
            raise FileRefused("the collection does not end with }")
    if not found:
        raise FileRefused("a FeatureCollection has a list features; here is none")


def _items(buffer: _Buffer) -> Iterator[Any]:
    buffer.take("[", "features")
    number = 0
    while buffer.peek() != "]":
        number += 1
        yield buffer.value(f"feature {number}")
        if buffer.peek() != "]":
            buffer.take(",", f"after feature {number}")
    buffer.take("]", "features")
