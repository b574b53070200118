"""Live view: tickets, one upstream for any number of viewers, and what goes over the wire."""

from gateway.live.errors import (
    LimitReached,
    LiveRefused,
    NoSource,
    RightLost,
    RightsUnknown,
    TicketInvalid,
)
from gateway.live.service import LiveService, LiveSession
from gateway.live.settings import LiveSettings
from gateway.live.tickets import KnownProfile, Ticket
from gateway.live.viewer import ViewClosed

__all__ = [
    "KnownProfile",
    "LimitReached",
    "LiveRefused",
    "LiveService",
    "LiveSession",
    "LiveSettings",
    "NoSource",
    "RightLost",
    "RightsUnknown",
    "Ticket",
    "TicketInvalid",
    "ViewClosed",
]
