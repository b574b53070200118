"""The texts of a workbook that its cells refer to by number, in as little memory as they need."""

import array
from collections.abc import Sequence
from typing import IO, Any, cast, overload
from xml.etree import ElementTree

from openpyxl.reader.excel import ExcelReader
from openpyxl.xml.constants import SHARED_STRINGS, SHEET_MAIN_NS

_ITEM = f"{{{SHEET_MAIN_NS}}}si"
_TEXT = f"{{{SHEET_MAIN_NS}}}t"
_RUN = f"{{{SHEET_MAIN_NS}}}r"


class SharedStrings(Sequence[str]):
    """source: the part of the workbook, read to its end. A list of texts would take four times
    the memory, and openpyxl keeps an empty element for each besides."""

    def __init__(self, source: IO[bytes]) -> None:
        self._texts = bytearray()
        self._ends = array.array("Q", [0])
        root: ElementTree.Element | None = None
        # Who declares entities has been refused before.
        for event, node in ElementTree.iterparse(source, events=("start", "end")):
            if root is None:
                root = node
            elif event == "end" and node.tag == _ITEM:
                self._texts += _text_of(node).encode()
                self._ends.append(len(self._texts))
                root.clear()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"there is no shared string {index}")
        return self._texts[self._ends[index] : self._ends[index + 1]].decode()


def _text_of(item: ElementTree.Element) -> str:
    """Of all its parts, which may look different; not how it is pronounced."""
    parts: list[str] = []
    for part in item:
        if part.tag == _TEXT:
            parts.append(part.text or "")
        elif part.tag == _RUN:
            parts.extend(text.text or "" for text in part.findall(_TEXT))
    return "".join(parts).replace("x005F_", "")


class CompactReader(ExcelReader):
    """openpyxl's reader, its shared strings kept so."""

    def read_strings(self) -> None:
        package: Any = self.package
        part = package.find(SHARED_STRINGS)
        if part is not None:
            with self.archive.open(part.PartName[1:]) as source:
                self.shared_strings = cast(Any, SharedStrings(source))
