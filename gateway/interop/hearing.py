"""What an event of a channel is to a floor. Pure; whatever is not to be read is left out."""

from gateway.bus.messages import CloudEvent
from gateway.interop import model
from gateway.interop.directory import Directory
from gateway.interop.presses import capped

LONGEST_HOLD_S = 30.0
USUAL_HOLD_S = 3.0


def writer_of(event: CloudEvent) -> str:
    """The node that wrote it. Raises: ValueError for a source that names none."""
    parts = event.source.split("/")
    if len(parts) != 3:
        raise ValueError(f"source {event.source!r} is not hutong/node/system")
    return parts[1]


def heard(event: CloudEvent, directory: Directory) -> model.Input | None:
    """The floor's input, None for what is none of its business."""
    data = event.data
    match event.type:
        case "floor.taken" | "floor.refreshed":
            return talk_heard(event, directory)
        case "floor.idle":
            return model.TalkEnded(
                channel=event.subject,
                stream=str(data.get("stream") or ""),
                reason=str(data.get("reason") or "released"),
                caused_by=data.get("caused_by") or None,
            )
        case "command.result" if data.get("transmission"):
            return model.KeyAnswered(
                channel=event.subject,
                transmission=str(data["transmission"]),
                # Our idea of its clock was old; with this answer it is fresh.
                outcome="busy" if data.get("late") is True else str(data.get("outcome")),
                reason=str(data.get("reason") or ""),
            )
        case "emergency.raised":
            talker = str(data.get("talker") or "")
            return model.EmergencyRaised(
                channel=event.subject,
                talker=talker,
                talker_alias=directory.alias(talker, str(data.get("talker_alias") or "")),
            )
        case "emergency.cleared":
            return model.EmergencyCleared(
                channel=event.subject, talker=str(data.get("talker") or "")
            )
        case _:
            return None


def talk_heard(event: CloudEvent, directory: Directory) -> model.TalkHeard:
    """Of `floor.taken` and `floor.refreshed`."""
    data = event.data
    talker = str(data.get("talker") or "")
    hold_s = data.get("hold_s")
    return model.TalkHeard(
        channel=event.subject,
        stream=str(data.get("stream") or ""),
        talker=talker,
        talker_alias=directory.alias(talker, str(data.get("talker_alias") or "")),
        unit=directory.unit_id(talker),
        priority=max(capped(data.get("priority")), directory.priority(talker)),
        emergency=bool(data.get("emergency")),
        encrypted=bool(data.get("encrypted")),
        hold_s=min(float(hold_s), LONGEST_HOLD_S)
        if isinstance(hold_s, int | float) and hold_s > 0
        else USUAL_HOLD_S,
        caused_by=data.get("caused_by") or None,
    )
