"""The pan-tilt-zoom head of a simulated camera; pure but for the clock it is given."""

import dataclasses
from collections.abc import Callable
from typing import Final

FULL_SPEED: Final = 0.5  # of the range of -1 to 1, per second, at velocity 1
MAX_PRESETS: Final = 32


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """pan, tilt: -1 to 1. zoom: 0 to 1."""

    pan: float = 0.0
    tilt: float = 0.0
    zoom: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    name: str
    position: Position


class PtzHead:
    """Where a head is, how it moves, and its presets.

    clock: monotonic seconds. moves, stops: how many of each were asked for.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.presets: dict[str, Preset] = {}
        self.moves = 0
        self.stops = 0
        self._clock = clock
        self._position = Position()
        self._velocity = Position()
        self._since_s = clock()
        self._until_s = 0.0
        self._next_preset = 1

    @property
    def position(self) -> Position:
        self._settle()
        return self._position

    @property
    def velocity(self) -> Position:
        """The velocity now, each of pan, tilt and zoom from -1 to 1."""
        self._settle()
        return self._velocity

    @property
    def moving(self) -> bool:
        return self.velocity != Position()

    def move(self, velocity: Position, duration_s: float) -> None:
        """Move on at this velocity until the duration is over, or another order."""
        self._settle()
        self._velocity = velocity
        self._until_s = self._since_s + duration_s
        self.moves += 1

    def stop(self, *, pan_tilt: bool = True, zoom: bool = True) -> None:
        self._settle()
        old = self._velocity
        self._velocity = Position(
            pan=0.0 if pan_tilt else old.pan,
            tilt=0.0 if pan_tilt else old.tilt,
            zoom=0.0 if zoom else old.zoom,
        )
        self.stops += 1

    def go(self, position: Position) -> None:
        """Be at a position at once; beyond its ends it stops there."""
        self._settle()
        self._velocity = Position()
        self._position = Position(
            pan=_clamp(position.pan, -1.0),
            tilt=_clamp(position.tilt, -1.0),
            zoom=_clamp(position.zoom, 0.0),
        )
        self.moves += 1

    def set_preset(self, name: str, token: str = "") -> str:
        """Keep the present position; an empty token makes a new preset. Returns the token.

        Raises: KeyError for a token that is unknown; OverflowError when all places are taken.
        """
        if token and token not in self.presets:
            raise KeyError(token)
        if not token:
            if len(self.presets) >= MAX_PRESETS:
                raise OverflowError(f"{MAX_PRESETS} presets are kept")
            token = str(self._next_preset)
            self._next_preset += 1
        kept = self.presets.get(token)
        name = name or (kept.name if kept else f"Preset {token}")
        self.presets[token] = Preset(name=name, position=self.position)
        return token

    def goto_preset(self, token: str) -> None:
        """Be there at once. Raises: KeyError."""
        self.go(self.presets[token].position)

    def remove_preset(self, token: str) -> None:
        """Raises: KeyError."""
        del self.presets[token]

    def _settle(self) -> None:
        now_s = self._clock()
        if self._velocity != Position():
            step = max(0.0, min(now_s, self._until_s) - self._since_s) * FULL_SPEED
            old, speed = self._position, self._velocity
            self._position = Position(
                pan=_clamp(old.pan + speed.pan * step, -1.0),
                tilt=_clamp(old.tilt + speed.tilt * step, -1.0),
                zoom=_clamp(old.zoom + speed.zoom * step, 0.0),
            )
            if now_s >= self._until_s:
                self._velocity = Position()
        self._since_s = now_s


def _clamp(value: float, low: float) -> float:
    return max(low, min(1.0, value))
