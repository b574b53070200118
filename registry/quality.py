"""Reports of video quality: one a point, of the latest look at its picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from registry import points, rows
from registry.errors import Conflict
from registry.models import POINT_QUALITY, POINTS
from registry.partition import INTEGRATE, Principal, require
from registry.sources import storable

_Q = POINT_QUALITY.c
_P = POINTS.c


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FaultScore:
    """score: 0 to 1, None where it was not judged; note: why not."""

    fault: str
    score: float | None
    threshold: float
    found: bool
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """outcome: ``none`` before the first look, ``judged``, ``no_picture`` with its reason.

    faults, faults_since: what is wrong, and since which look; of the latest look that saw a
    picture. scores: of this look. thresholds: the point's own, where it has any.
    """

    outcome: str = "none"
    looked_at: datetime | None = None
    reason: str = ""
    scores: tuple[FaultScore, ...] = ()
    faults: tuple[str, ...] = ()
    faults_since: datetime | None = None
    has_evidence: bool = False
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A point with a source, for the schedule of looks. looked_at: of the latest, if any."""

    point_id: str
    device_id: str
    looked_at: datetime | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a look at a point has to know. memory: of its present source only, empty if none."""

    point_id: str
    device_id: str
    address: str
    masked: bool
    movable: bool
    thresholds: Mapping[str, float]
    memory: bytes
    faults: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a look brought. faults: None where no picture came, which changes none of them."""

    looked_at: datetime
    outcome: str
    reason: str = ""
    scores: tuple[FaultScore, ...] = ()
    faults: tuple[str, ...] | None = None
    memory: bytes | None = None
    evidence: bytes | None = None


def of_point(connection: Connection, principal: Principal, point_id: str) -> QualityReport:
    """Raises: NotFound where there is no such point, or none that the principal sees."""
    point = points.get(connection, principal, point_id)
    has_evidence = _Q.evidence.is_not(None).label("has_evidence")
    row = connection.execute(
        select(
            _Q.outcome,
            _Q.looked_at,
            _Q.reason,
            _Q.scores,
            _Q.faults,
            _Q.faults_since,
            has_evidence,
            _Q.thresholds,
        ).where(_Q.point_id == point.id)
    ).one_or_none()
    if row is None:
        return QualityReport()
    return QualityReport(
        outcome=row.outcome,
        looked_at=row.looked_at,
        reason=row.reason,
        scores=tuple(FaultScore(**each) for each in row.scores),
        faults=tuple(row.faults),
        faults_since=row.faults_since,
        has_evidence=row.has_evidence,
        thresholds=row.thresholds,
    )


def evidence(connection: Connection, point_id: str) -> bytes | None:
    """The picture of a point's latest report. Whether the caller may see it is for the caller."""
    found: bytes | None = connection.scalar(select(_Q.evidence).where(_Q.point_id == point_id))
    return found


def watched(connection: Connection) -> tuple[Watched, ...]:
    """All points that have a source."""
    found = connection.execute(
        select(_P.id, _P.device_id, _Q.looked_at)
        .join_from(POINTS, POINT_QUALITY, _Q.point_id == _P.id, isouter=True)
        .where(_P.device_id.is_not(None))
    )
    return tuple(Watched(point_id=row[0], device_id=row[1], looked_at=row[2]) for row in found)


def subject(connection: Connection, point_id: str) -> Subject | None:
    """None where the point is gone, or has no source now."""
    row = connection.execute(
        select(
            _P.device_id,
            _P.address,
            _P.masked,
            _P.capabilities,
            _Q.thresholds,
            _Q.memory,
            _Q.faults,
            (_Q.device_id == _P.device_id).label("same_device"),
            (_Q.address == _P.address).label("same_address"),
        )
        .join_from(POINTS, POINT_QUALITY, _Q.point_id == _P.id, isouter=True)
        .where(_P.id == point_id, _P.device_id.is_not(None))
    ).one_or_none()
    if row is None:
        return None
    same = bool(row.same_device and row.same_address)
    return Subject(
        point_id=point_id,
        device_id=row.device_id,
        address=row.address,
        masked=row.masked,
        movable="ptz" in row.capabilities,
        thresholds=row.thresholds or {},
        memory=(row.memory or b"") if same else b"",
        faults=tuple(row.faults or ()),
    )


def store(connection: Connection, of: Subject, finding: Finding) -> bool:
    """Replace a point's report by that of a look; False where the point is gone meanwhile.

    A masked point keeps no evidence, also where it was masked while the look went on.
    """
    masked = connection.scalar(select(_P.masked).where(_P.id == of.point_id))
    if masked is None:
        return False
    values: dict[str, Any] = {
        "device_id": of.device_id,
        "address": of.address,
        "looked_at": finding.looked_at,
        "outcome": finding.outcome,
        "reason": storable(finding.reason, 500),
        "scores": [dataclasses.asdict(each) for each in finding.scores],
        "evidence": None if masked else finding.evidence,
    }
    if finding.memory is not None:
        values["memory"] = finding.memory
    elif not of.memory:
        values["memory"] = None
    if finding.faults is not None:
        values["faults"] = list(finding.faults)
        if set(finding.faults) != set(of.faults):
            values["faults_since"] = finding.looked_at
    _put(connection, of.point_id, values)
    return True


def set_thresholds(
    connection: Connection, principal: Principal, point_id: str, thresholds: Mapping[str, float]
) -> QualityReport:
    """A point's own thresholds in place of those it has. Needs `integrator` or `admin`.

    Raises: NotFound, Forbidden.
    """
    point = points.get(connection, principal, point_id)
    path = point.organization.path
    require(principal, INTEGRATE, path)
    before = of_point(connection, principal, point.id).thresholds
    _put(connection, point.id, {"thresholds": dict(thresholds)})
    changed = rows.difference({"thresholds": before}, {"thresholds": dict(thresholds)})
    if changed:
        rows.record(connection, principal, "thresholds", "point", point.id, path, changed)
    return of_point(connection, principal, point.id)


def set_memory(connection: Connection, principal: Principal, point_id: str, memory: bytes) -> None:
    """What is remembered of a point's pictures, where a person says that it no longer holds. Needs
    `integrator` or `admin`. Raises: NotFound, Forbidden; Conflict before the first look."""
    point = points.get(connection, principal, point_id)
    path = point.organization.path
    require(principal, INTEGRATE, path)
    if memory_of(connection, point.id) is None:
        raise Conflict("this point was not looked at yet: there is no scene to forget")
    _put(connection, point.id, {"memory": memory})
    rows.record(connection, principal, "scene", "point", point.id, path, {})


def memory_of(connection: Connection, point_id: str) -> bytes | None:
    found: bytes | None = connection.scalar(select(_Q.memory).where(_Q.point_id == point_id))
    return found


_EMPTY: Mapping[str, Sequence[Any] | Mapping[str, Any] | str] = {
    "thresholds": {},
    "outcome": "none",
    "reason": "",
    "scores": [],
    "faults": [],
}


def _put(connection: Connection, point_id: str, values: Mapping[str, Any]) -> None:
    changed = connection.execute(
        update(POINT_QUALITY).where(_Q.point_id == point_id).values(**values)
    )
    if changed.rowcount == 0:
        connection.execute(insert(POINT_QUALITY).values(**{**_EMPTY, **values}, point_id=point_id))


__all__ = [
    "FaultScore",
    "Finding",
    "QualityReport",
    "Subject",
    "Watched",
    "evidence",
    "memory_of",
    "of_point",
    "set_memory",
    "set_thresholds",
    "store",
    "subject",
    "watched",
]
