"""The finer rules of a patch: waits, penalties, whom it admits; checked here, kept as JSON."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from registry.errors import Reason

CALL_TYPES = ("voice", "emergency", "dispatch")
MOST_UNITS = 2000
_SECONDS: Mapping[str, tuple[float, float]] = {
    "queue_timeout_s": (1, 600),
    "revoke_grace_s": (0, 10),
    "penalty_s": (0, 600),
    "emergency_hold_s": (5, 3600),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """allow: empty for all; deny goes first."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PatchOptions:
    """queue_timeout_s: the longest wait. revoke_grace_s: what a talker who is outranked still has.
    penalty_s: how long who talks too long a second time stays off, 0 for never. emergency_hold_s:
    an emergency that nobody clears ends after it without talk. encrypted: such talk is bridged.
    units: by id, or ``{system_id}/{address}``. calls: of `CALL_TYPES`."""

    queue_timeout_s: float = 30.0
    revoke_grace_s: float = 0.0
    penalty_s: float = 0.0
    emergency_hold_s: float = 120.0
    encrypted: bool = False
    units: Listed = Listed()
    calls: Listed = Listed()


DEFAULTS = PatchOptions()
FIELDS = tuple(field.name for field in dataclasses.fields(PatchOptions))


def document_of(options: PatchOptions) -> dict[str, Any]:
    """As JSON."""
    document = dataclasses.asdict(options)
    for name in ("units", "calls"):
        document[name] = {key: list(value) for key, value in document[name].items()}
    return document


def options_of(document: Mapping[str, Any]) -> PatchOptions:
    """From what was stored; fields that it has not are the defaults."""
    known = {name: document[name] for name in FIELDS if name in document}
    for name in ("units", "calls"):
        if name in known:
            listed = known[name]
            known[name] = Listed(allow=tuple(listed["allow"]), deny=tuple(listed["deny"]))
    return PatchOptions(**known)


def faults(options: PatchOptions) -> list[Reason]:
    """What cannot be, each with its place."""
    found = [
        Reason(field=name, reason=f"must be {least:g} to {most:g} seconds")
        for name, (least, most) in _SECONDS.items()
        if not least <= getattr(options, name) <= most
    ]
    for kind in ("allow", "deny"):
        for index, call in enumerate(getattr(options.calls, kind)):
            if call not in CALL_TYPES:
                place = f"calls.{kind}[{index}]"
                words = ", ".join(CALL_TYPES)
                found.append(Reason(field=place, reason=f"must be one of {words}"))
        units = getattr(options.units, kind)
        if len(units) > MOST_UNITS:
            found.append(Reason(field=f"units.{kind}", reason=f"must be {MOST_UNITS} at most"))
        found += [
            Reason(field=f"units.{kind}[{index}]", reason="must have 1 to 300 characters")
            for index, unit in enumerate(units[:MOST_UNITS])
            if not 1 <= len(unit) <= 300
        ]
    return found
