"""What the events of a recorder are to the gateway: one table. Pure."""

import json
from datetime import datetime

from adapters import events as seam
from hutong_lantern.wire import Event

CONDITIONS: dict[str, type[seam.SourceCondition]] = {
    "motion": seam.Motion,
    "cover": seam.Tamper,
    "video-loss": seam.SignalLost,
}
ALARMS = {"input": "digital_input", "disk": "storage"}
_ACTIVE = {"begin": True, "end": False, "once": None}


def report_of(event: Event, now: datetime) -> seam.Event:
    """now: when it was told, which is when it happened: the recorder's own clock may be wrong."""
    active = _ACTIVE[event.state]
    if event.kind in CONDITIONS and event.channel:
        return CONDITIONS[event.kind](at=now, address=event.channel, active=active)
    if event.kind in ALARMS:
        kind = ALARMS[event.kind]
        return seam.Alarm(at=now, address=event.channel, active=active, kind=kind, part=event.part)
    if event.kind == "camera" and event.channel and active is not None:
        return status_of(event.channel, connected=active, now=now)
    return seam.Unrecognised(at=now, kind=event.kind, sample=_sample(event))


def status_of(channel: str, *, connected: bool, now: datetime) -> seam.SourceStatus:
    status, reason = (
        ("online", "") if connected else ("offline", "the recorder has lost its camera")
    )
    return seam.SourceStatus(at=now, address=channel, status=status, reason=reason)


def _sample(event: Event) -> str:
    """For a case: what it is made of, without the values of what nobody knows."""
    unknown = {name: type(value).__name__ for name, value in (event.model_extra or {}).items()}
    return json.dumps({"kind": event.kind, "state": event.state, **unknown}, sort_keys=True)
