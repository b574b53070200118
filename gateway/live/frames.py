"""What a stream consists of on its way to viewers, and how each transport writes it.

Every entry writes itself once for each transport; all viewers get the same bytes.
"""

import base64
import dataclasses
import functools
import json
import struct

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import AdapterError
from adapters.media import fmp4

FLAG_KEYFRAME, FLAG_DISCONTINUITY = 1, 2
VIDEO, AUDIO = 0, 1
_HEAD = struct.Struct(">BBQ")

Message = str | bytes
_TEXT, _BINARY = 0x81, 0x82


def wire_frame(message: Message) -> bytes:
    """A message as one WebSocket frame from the server. Source: RFC 6455, section 5.2."""
    first, data = (_BINARY, message) if isinstance(message, bytes) else (_TEXT, message.encode())
    size = len(data)
    if size < 126:
        head = struct.pack(">BB", first, size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, 126, size)
    else:
        head = struct.pack(">BBQ", first, 127, size)
    return head + data


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveState:
    """state: ``live``, ``reconnecting``, ``ended``. reason: one clause; when live, why the stream
    is not read in the usual way, else empty."""

    state: str
    reason: str = ""

    @functools.cached_property
    def text(self) -> str:
        return json.dumps({"type": "state", "state": self.state, "reason": self.reason})

    def frames(self) -> list[Message]:
        return [self.text]

    def fmp4(self) -> list[Message]:
        return [self.text]

    def wire(self, *, fmp4: bool) -> bytes:
        return wire_frame(self.text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveFormat:
    """A track's format from here on. audio: with that of the pictures, the sound that goes beside
    them in fMP4, if it can."""

    track: TrackFormat
    audio: TrackFormat | None = None

    @functools.cached_property
    def text(self) -> str:
        track = self.track
        fields: dict[str, object] = {"type": track.kind, "codec": track.codec}
        if track.kind == "audio":
            fields |= {"sample_rate_hz": track.sample_rate_hz, "channels": track.channels}
        else:
            fields |= {"width": track.width, "height": track.height}
        fields["description"] = base64.b64encode(track.description).decode()
        return json.dumps(fields)

    @functools.cached_property
    def init(self) -> list[Message]:
        if self.track.kind != "video":
            return []
        try:
            segment = fmp4.init_segment(self.track, self.audio)
        except AdapterError as error:
            return [LiveState(state="ended", reason=error.message).text]
        return [json.dumps({"mime": fmp4.mime_type(self.track, self.audio)}), segment]

    def frames(self) -> list[Message]:
        return [self.text]

    def fmp4(self) -> list[Message]:
        return self.init

    def wire(self, *, fmp4: bool) -> bytes:
        return b"".join(map(wire_frame, self.init)) if fmp4 else wire_frame(self.text)


class LiveUnit:
    """An access unit on the relay's own time line.

    video: whether it is of the video track. sequence, placement: of its fMP4 fragment, where
    it has one.
    """

    __slots__ = (
        "_fmp4",
        "_fmp4_wire",
        "_frames",
        "_frames_wire",
        "_resumed",
        "placement",
        "sequence",
        "unit",
        "video",
    )

    def __init__(
        self, unit: AccessUnit, *, video: bool, sequence: int, placement: fmp4.Placement | None
    ) -> None:
        self.unit = unit
        self.video = video
        self.sequence = sequence
        self.placement = placement
        self._frames: list[Message] | None = None
        self._fmp4: list[Message] | None = None
        self._frames_wire: bytes | None = None
        self._fmp4_wire: bytes | None = None
        self._resumed: LiveUnit | None = None

    @property
    def opens_group(self) -> bool:
        return self.video and self.unit.keyframe

    def frames(self) -> list[Message]:
        if self._frames is None:
            self._frames = [self._frame()]
        return self._frames

    def _frame(self) -> bytes:
        return frame_message(self.unit, VIDEO if self.video else AUDIO)

    def fmp4(self) -> list[Message]:
        if self._fmp4 is None:
            self._fmp4 = []
            if self.placement is not None:
                track_id = fmp4.VIDEO_ID if self.video else fmp4.AUDIO_ID
                fragment = fmp4.fragment(self.sequence, self.placement, self.unit, track_id)
                self._fmp4.append(fragment)
        return self._fmp4

    def wire(self, *, fmp4: bool) -> bytes:
        """What goes over a WebSocket: the messages, framed; made once for all viewers."""
        if fmp4:
            if self._fmp4_wire is None:
                self._fmp4_wire = b"".join(map(wire_frame, self.fmp4()))
            return self._fmp4_wire
        if self._frames_wire is None:
            # The message itself is not kept: a group in memory holds its pictures often enough.
            self._frames_wire = wire_frame(self._frame())
        return self._frames_wire

    def resumed(self) -> "LiveUnit":
        """The same unit for viewers that missed what was before it."""
        if self.unit.discontinuity:
            return self
        if self._resumed is None:
            unit = dataclasses.replace(self.unit, discontinuity=True)
            self._resumed = LiveUnit(
                unit, video=self.video, sequence=self.sequence, placement=self.placement
            )
            self._resumed._fmp4 = self.fmp4()
        return self._resumed


Entry = LiveState | LiveFormat | LiveUnit


def frame_message(unit: AccessUnit, track: int) -> bytes:
    """The binary message of the frames WebSocket: 10 bytes of head, then the unit."""
    flags = FLAG_KEYFRAME * unit.keyframe | FLAG_DISCONTINUITY * unit.discontinuity
    return _HEAD.pack(flags, track, unit.pts_us) + unit.data
