"""Features of a GeoJSON FeatureCollection (RFC 7946), one after another."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from registry.exchange.columns import read_header
from registry.exchange.records import MAX_COLUMNS, Block, FileRefused, in_blocks
from registry.exchange.row_values import NoPoint
from registry.identity import parse_id

_BLOCK = 1 << 18
MAX_VALUE = 16 * 1024 * 1024
"""Characters of one feature, or of one other member of the collection."""


_Where = tuple[str, str]
"""A place in the file, in English and Chinese."""


def read_geojson(path: Path) -> Iterator[Block]:
    """Raises: FileRefused for what is no FeatureCollection, saying near which feature."""
    with path.open(encoding="utf-8-sig") as file:
        buffer = _Buffer(file)
        yield from in_blocks(_rows(buffer), lambda: buffer.characters)


def _rows(buffer: "_Buffer") -> Iterator[tuple[str, tuple[str, ...], int, tuple[Any, ...]]]:
    headers = _Headers()
    for number, feature in enumerate(_features(buffer), 1):
        named = _named(feature, number)
        names = headers.holding(named)
        yield "", names, number, tuple(map(named.get, names))


class _Headers:
    """One row of headers for as many features as can be below it, whose names differ: what a
    feature does not have is an empty cell."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._known: frozenset[str] = frozenset()

    def holding(self, named: Mapping[str, Any]) -> tuple[str, ...]:
        if named.keys() <= self._known:
            return self._names
        names = (*self._names, *(name for name in named if name not in self._known))
        # Two names for the same field cannot stand beside each other.
        if len(names) > MAX_COLUMNS or read_header(names).repeated:
            names = tuple(named)
        self._names, self._known = names, frozenset(names)
        return names


def _named(feature: Any, number: int) -> dict[str, Any]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise FileRefused("no_feature", number=number)
    properties = feature.get("properties") or {}
    if not isinstance(properties, dict):
        raise FileRefused("no_properties", number=number)
    # Other programs number features; only what is an id of ours can be meant as one.
    numbered = feature.get("id")
    own = numbered if isinstance(numbered, str) and parse_id(numbered) else None
    named = {"id": own, **properties}
    geometry = feature.get("geometry")
    if geometry is not None or not {"longitude", "latitude"} <= named.keys():
        named["longitude"], named["latitude"] = _position(geometry)
    return named


def _position(geometry: Any) -> tuple[Any, Any]:
    if geometry is None:
        return None, None
    if isinstance(geometry, Mapping) and geometry.get("type") == "Point":
        coordinates = geometry.get("coordinates")
        if isinstance(coordinates, list) and len(coordinates) >= 2:
            return coordinates[0], coordinates[1]
    # Once is enough to say it.
    return NoPoint(str(geometry.get("type") if isinstance(geometry, Mapping) else geometry)), None


class _Buffer:
    """Text of a file, of which only the part in hand is kept."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._decoder = json.JSONDecoder()
        self.at = 0
        self.characters = 0

    def more(self) -> bool:
        try:
            block = self._file.read(max(_BLOCK, len(self._text) - self.at))
        except UnicodeDecodeError as error:
            raise FileRefused("not_utf8", at=error.start) from None
        self.characters += len(block)
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

    def take(self, wanted: str, where: _Where) -> None:
        found = self.peek()
        if not found or found not in wanted:
            raise FileRefused(
                "expected",
                where=where,
                wanted=(" or ".join(wanted), " 或 ".join(wanted)),
                found=found or ("the end", "文件末尾"),
            )
        self.at += 1

    def value(self, where: _Where) -> Any:
        """The JSON value that begins here."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self.at)
            except json.JSONDecodeError as error:
                wrong, why = error, error.msg
            except RecursionError:
                raise FileRefused("nested_too_deeply", where=where) from None
            except ValueError as error:
                raise FileRefused("no_json", where=where, why=error) from None
            else:
                size = end - self.at
                # A number could go on in the next block; what is read before it is dropped then.
                if end < len(self._text) or not self.more():
                    self.at += size
                    return value
                continue
            if len(self._text) - self.at > MAX_VALUE:
                raise FileRefused("too_long_json", where=where, most=MAX_VALUE, why=why)
            if not self.more():
                raise FileRefused("no_json", where=where, why=wrong.msg) from None


def _features(buffer: _Buffer) -> Iterator[Any]:
    buffer.take("{", ("the file", "文件"))
    found = False
    while buffer.peek() != "}":
        name = buffer.value(("a member of the collection", "集合的成员"))
        buffer.take(":", (f"after {name!r}", f"{name!r} 之后"))
        if name == "features" and buffer.peek() == "[":
            found = True
            yield from _items(buffer)
        else:
            value = buffer.value((f"member {name!r}", f"成员 {name!r}"))
            if name == "type" and value != "FeatureCollection":
                raise FileRefused("no_collection", found=value)
        if buffer.peek() == ",":
            buffer.take(",", ("the collection", "集合"))
        elif buffer.peek() != "}":
            raise FileRefused("no_end")
    if not found:
        raise FileRefused("no_features")


def _items(buffer: _Buffer) -> Iterator[Any]:
    buffer.take("[", ("features", "features"))
    number = 0
    while buffer.peek() != "]":
        number += 1
        yield buffer.value((f"feature {number}", f"第 {number} 个要素"))
        if buffer.peek() != "]":
            buffer.take(",", (f"after feature {number}", f"第 {number} 个要素之后"))
    buffer.take("]", ("features", "features"))
