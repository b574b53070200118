"""The sound beside the pictures of one stream, as fMP4 needs it."""

from adapters.base import TrackFormat
from adapters.media import fmp4

MAX_SILENCE_US = 2_000_000


class Sound:
    """Decides at each keyframe whether fMP4 carries sound: a player waits for a track that was
    promised and brings nothing, and the picture waits with it.

    beside: the format of the sound that viewers were told to expect, else None.
    """

    def __init__(self) -> None:
        self._track: TrackFormat | None = None
        self._timeline: fmp4.AudioTimeline | None = None
        self._last_us: int | None = None
        self._flows = True
        self.beside: TrackFormat | None = None

    @property
    def wanted(self) -> TrackFormat | None:
        """What viewers should be told to expect from the next keyframe on."""
        return self._track if self._flows else None

    def begin(self, track: TrackFormat) -> None:
        """The stream has sound in this format."""
        self._track = track if fmp4.carries(track) else None
        self._last_us, self._flows = None, True

    def end(self) -> None:
        """The stream is over; whether the next one has sound is not known."""
        self._track = self._last_us = None
        self.carry()

    def carry(self) -> None:
        """Viewers are told of what is wanted now."""
        self.beside = track = self.wanted
        self._timeline = fmp4.AudioTimeline(track) if track is not None else None

    def heard(self, pts_us: int) -> None:
        """A frame of sound came."""
        self._last_us = pts_us

    def changes(self, pts_us: int) -> bool:
        """Whether viewers have to be told something else with the keyframe of this time."""
        if self._last_us is None:
            self._last_us = pts_us
        self._flows = pts_us - self._last_us <= MAX_SILENCE_US
        return self.wanted != self.beside

    def place(self, pts_us: int) -> fmp4.Placement | None:
        """Where a frame lies in fMP4; None while sound is not carried."""
        return self._timeline.place(pts_us) if self._timeline is not None else None
