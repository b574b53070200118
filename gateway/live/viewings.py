"""What is told of each view by a person, when it opens and when it closes."""

import dataclasses
from collections.abc import Callable
from datetime import datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Viewing:
    """id: of the ticket, no secret. transport: ``frames``, ``fmp4``, ``mjpeg``, ``whep``, or
    what a media server has: ``whep``, ``hls``, ``rtsp`` and what else is turned on there.
    clear: nothing was masked. jpeg: transcoded to single pictures. opened_at: UTC.
    seconds: how long it has run. ended: why it is over; None when it has just opened. token_id: of
    the access token by which a program looks, empty for a person."""

    id: str
    user_id: str
    point_id: str
    profile: str
    transport: str
    clear: bool
    jpeg: bool
    purpose: str
    opened_at: datetime
    seconds: float = 0.0
    ended: str | None = None
    token_id: str = ""


Told = Callable[[Viewing], None]
"""Called in the event loop; returns at once and raises nothing."""
