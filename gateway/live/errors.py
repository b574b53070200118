"""Why a stream is refused or ends before its time.

LiveRefused            carries the WebSocket close code of the contract, and a reason
├── TicketInvalid      4401   unknown, used, or older than 30 s
├── RightLost          4403   this user may not see this point (any more)
├── NoSource           4404   the point has no source; raised by `open_media` too
├── LimitReached       4429   as many viewers or tickets as allowed
├── CameraBusy         4429   the camera bears no more sessions than it has
├── NotOffered         4406   the stream is not made in the form that was asked for
├── NoPicture          1013   the camera gave no picture in time
└── RightsUnknown      1013   whether the user may look cannot be asked now; no view opens
"""

from typing import ClassVar


class LiveRefused(Exception):
    """reason: one clause for a person. code: WebSocket close code; status: its HTTP counterpart."""

    code: ClassVar[int]
    status: ClassVar[int]

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TicketInvalid(LiveRefused):
    code = 4401
    status = 401


class RightLost(LiveRefused):
    code = 4403
    status = 403


class NoSource(LiveRefused):
    code = 4404
    status = 404


class LimitReached(LiveRefused):
    code = 4429
    status = 429


class CameraBusy(LiveRefused):
    code = 4429
    status = 503


class NotOffered(LiveRefused):
    code = 4406
    status = 406


class NoPicture(LiveRefused):
    code = 1013
    status = 503


class RightsUnknown(LiveRefused):
    code = 1013
    status = 503
