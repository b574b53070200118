"""What the bridge says of a floor: patch states, decisions, and words to who was refused. Pure."""

from typing import Any

from gateway.interop import model
from gateway.interop.floor import queue_of

_WORDS = {
    "denied": "未接通 not bridged",
    "queued": "排队中 queued",
    "revoked": "已中断 cut off",
}


def floor_shown(floor: model.Floor) -> dict[str, Any]:
    """What a patch state says of the floor itself."""
    talk = floor.talk
    return {
        "floor": "taken" if talk else "idle",
        "holder": _named(talk) if talk else None,
        "queue": [_named(t) for t in (queue_of(floor) if floor.rules.queue else ())],
        "emergency": bool(floor.emergencies) or bool(talk and talk.emergency),
        "emergencies": [
            {"channel": e.channel, "talker": e.talker, "talker_alias": e.talker_alias}
            for e in floor.emergencies.values()
        ],
    }


def look_alike(before: model.Floor, after: model.Floor) -> bool:
    """Would both be shown the same? Most of what is heard only says that a talk goes on."""
    if (
        before.holder != after.holder
        or before.rules is not after.rules
        or before.keyed.keys() != after.keyed.keys()
        or before.talks.keys() != after.talks.keys()
        or before.missed != after.missed
        or before.emergencies.keys() != after.emergencies.keys()
        or before.suspended != after.suspended
        or before.present != after.present
    ):
        return False
    return all(_looks(before.talks[name]) == _looks(talk) for name, talk in after.talks.items())


def _looks(talk: model.Talk) -> tuple[object, ...]:
    return talk.standing, talk.stream, talk.talker, talk.talker_alias, talk.rank, talk.emergency


def _named(talk: model.Talk) -> dict[str, Any]:
    return {"channel": talk.channel, "talker": talk.talker, "talker_alias": talk.talker_alias}


def member_shown(
    floor: model.Floor, channel_id: str, health: str | None, voice: str
) -> dict[str, Any]:
    """health: what its agent says, None where nobody speaks for it. voice: does it pass between
    this member and ``all`` others, ``some``, or ``none``."""
    missed = floor.missed.get(channel_id)
    return {
        "channel": channel_id,
        "keyed": channel_id in floor.keyed,
        "missed": missed.reason if missed else None,
        "suspended": channel_id in floor.suspended,
        "muted": floor.rules.members[channel_id].muted,
        "voice": voice,
        "health": health if health and channel_id in floor.present else "unknown",
    }


def voice_between(rules: model.Rules) -> dict[str, str]:
    """For every member: does voice pass between it and ``all`` others that it may talk to or hear,
    ``some``, or ``none``?"""
    return {channel: _between(rules, channel) for channel in rules.members}


def _between(rules: model.Rules, channel: str) -> str:
    found = [
        rules.passes(one, other) is model.Voice.FRAMES
        for each in rules.members
        if each != channel
        for one, other in ((channel, each), (each, channel))
        if rules.members[one].may_talk and rules.keyable(other)
    ]
    if not any(found):
        return "none"
    return "all" if all(found) else "some"


def decision_data(
    decided: model.Decided, *, transmission: str, patch: str | None
) -> dict[str, Any]:
    """`data` of a `floor.*` decision."""
    talk = decided.talk
    return {
        "stream": talk.stream,
        "talker": talk.talker,
        "talker_alias": talk.talker_alias,
        "priority": talk.priority,
        "emergency": talk.emergency,
        "late_entry": decided.late_entry,
        "position": decided.position,
        "grace_s": decided.grace_s,
        "transmission": transmission if decided.decision == "granted" else None,
        "patch": patch,
        "reason": decided.reason,
        "by": decided.user or None,
    }


def words_for(decided: model.Decided) -> str | None:
    """What who was refused is told where texts can be sent, None where nothing is to be said."""
    if decided.decision not in _WORDS or decided.again:
        return None
    who = decided.talk.talker_alias or decided.talk.talker
    return f"{who}: {_WORDS[decided.decision]} ({decided.reason})"


def suspended_in(state: dict[str, Any]) -> frozenset[str]:
    """The members that a patch's state, of whichever bridge, says are suspended."""
    members = state.get("members")
    return frozenset(
        str(each.get("channel"))
        for each in (members if isinstance(members, list) else ())
        if isinstance(each, dict) and each.get("suspended") is True
    )


def emergencies_in(state: dict[str, Any]) -> list[model.EmergencyRaised]:
    """The emergencies that a patch's state speaks of."""
    told = state.get("emergencies")
    return [
        model.EmergencyRaised(
            channel=str(each.get("channel")),
            talker=str(each.get("talker") or ""),
            talker_alias=str(each.get("talker_alias") or ""),
        )
        for each in (told if isinstance(told, list) else ())
        if isinstance(each, dict)
    ]
