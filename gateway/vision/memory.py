"""What is remembered of a point's earlier pictures: numbers of which no picture can be made.

144 mean levels of the latest picture, and the outline (how much edge of which direction each of
16 x 9 blocks has) of the scene, one in colour and one in the grey of infrared light.
"""

import dataclasses
from typing import Literal

import numpy as np

from gateway.vision.measures import BINS, BLOCKS, Floats

Light = Literal["colour", "grey"]
LIGHTS: tuple[Light, Light] = ("colour", "grey")

_VERSION = 1
_LEVELS = 256.0  # steps a level
_EDGES = 4.0  # steps a level of gradient


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """levels: 9 x 16 of the latest picture. colour, grey: outlines, 9 x 16 x 8. None: nothing."""

    levels: Floats | None = None
    colour: Floats | None = None
    grey: Floats | None = None

    def scene(self, light: Light) -> Floats | None:
        return self.colour if light == "colour" else self.grey

    def without_scene(self) -> "Memory":
        """The camera was turned on purpose: what it shows from now on is its scene."""
        return Memory(levels=self.levels)


NOTHING = Memory()


def to_bytes(memory: Memory) -> bytes:
    parts = [bytes((_VERSION,))]
    for value, steps, kind in _fields(memory):
        top = np.iinfo(kind).max
        filled = b"" if value is None else np.clip(value * steps, 0, top).astype(kind).tobytes()
        parts.append(bytes((value is not None,)) + filled)
    return b"".join(parts)


def from_bytes(data: bytes) -> Memory:
    """Nothing where it is of another version or damaged: the next pictures teach it anew."""
    if data[:1] != bytes((_VERSION,)):
        return NOTHING
    found: list[Floats | None] = []
    at = 1
    for (_, steps, kind), shape in zip(_fields(NOTHING), _SHAPES, strict=True):
        there, at = data[at : at + 1] == b"\x01", at + 1
        if not there:
            found.append(None)
            continue
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        if len(data) < at + size:
            return NOTHING
        raw = np.frombuffer(data, kind, int(np.prod(shape)), at).reshape(shape)
        found.append((raw / steps).astype(np.float32))
        at += size
    return Memory(levels=found[0], colour=found[1], grey=found[2])


_SHAPES = (BLOCKS[::-1], (*BLOCKS[::-1], BINS), (*BLOCKS[::-1], BINS))


def _fields(memory: Memory) -> tuple[tuple[Floats | None, float, type[np.unsignedinteger]], ...]:
    return (
        (memory.levels, _LEVELS, np.uint16),
        (memory.colour, _EDGES, np.uint8),
        (memory.grey, _EDGES, np.uint8),
    )
