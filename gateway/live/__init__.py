"""Live view: tickets, one upstream for any number of viewers, and what goes over the wire."""

from gateway.live.errors import (
    CameraBusy,
    LimitReached,
    LiveRefused,
    NoSource,
    NotOffered,
    RightLost,
    RightsUnknown,
    TicketInvalid,
)
from gateway.live.rights import View
from gateway.live.service import LiveService, LiveSession
from gateway.live.settings import LiveSettings
from gateway.live.tickets import KnownProfile, Ticket
from gateway.live.variants import StreamKey, Transform
from gateway.live.viewer import ViewClosed
from gateway.live.viewings import Viewing

__all__ = [
    "CameraBusy",
    "KnownProfile",
    "LimitReached",
    "LiveRefused",
    "LiveService",
    "LiveSession",
    "LiveSettings",
    "NoSource",
    "NotOffered",
    "RightLost",
    "RightsUnknown",
    "StreamKey",
    "Ticket",
    "TicketInvalid",
    "Transform",
    "View",
    "ViewClosed",
    "Viewing",
]
