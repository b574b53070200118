"""What dispatchers ask for over the bus, and where their presses stand. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.interop import model
from gateway.interop.floor import queue_of

HIGHEST_PRIORITY = model.EMERGENCY_PRIORITY - 1
_FROM_BEST = ("released", "granted", "queued", "denied")


def capped(priority: object) -> int:
    """What anybody may write as a priority; the highest is for emergencies alone."""
    return min(max(priority, 0), HIGHEST_PRIORITY) if isinstance(priority, int) else 0


def input_of(channel_id: str, request: Mapping[str, Any]) -> model.Input:
    """What a request is to a floor. Raises: ValueError for what the API would not ask."""
    user, action = request.get("user"), request.get("action")
    if not isinstance(user, str) or not isinstance(action, str):
        raise ValueError("a request without user or action")
    match action:
        case "press" | "refresh":
            return model.Pressed(
                user=user,
                channel=channel_id,
                alias=str(request.get("alias") or user),
                priority=capped(request.get("priority")),
            )
        case "release":
            return model.Released(user=user)
        case "clear":
            return model.Cleared(user=user)
        case "emergency.clear":
            return model.EmergencyCleared(channel=channel_id, user=user)
        case "member.resume":
            return model.MemberResumed(channel=channel_id, user=user)
    raise ValueError(f"unknown action {action!r}")


def standing_of(floor: model.Floor, user: str) -> dict[str, Any]:
    """`state` of a user's press: granted, queued, denied, or released where there is none."""
    talk, holder = floor.talks.get(f"user/{user}"), floor.talk
    state, position, refusal = "released", 0, ""
    if talk is not None and talk.standing is model.Standing.HOLDER:
        state = "granted"
    elif talk is not None and talk.standing is model.Standing.BARRED:
        state = "denied"
    elif talk is not None and talk.standing is model.Standing.LOCAL:
        state, refusal = "denied", floor.rules.refuses(talk)
    elif talk is not None:
        waiting = [each.talker for each in queue_of(floor)]
        state, position = "queued", waiting.index(talk.talker) + 1
    in_the_way = holder if holder is not talk else None
    who = (in_the_way.talker_alias or in_the_way.talker) if in_the_way else ""
    return {
        "state": state,
        "position": position,
        "transmission": floor.transmission if state == "granted" else None,
        "reason": refusal or who,
    }


def worst(answers: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of a press into several patches: nobody is to believe to be heard where they are not."""
    return max(answers, key=lambda answer: _FROM_BEST.index(answer["state"]))
