"""Reports of video quality: one a point, of the latest look at its picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Text, cast, insert, select, update

from registry import organizations, points, rows
from registry.errors import Conflict
from registry.models import ORGANIZATIONS, POINT_QUALITY, POINTS
from registry.organizations import OrganizationRef
from registry.paging import DEFAULT_LIMIT, AnyRow, Page, read_page
from registry.partition import INTEGRATE, Principal, owned_within, require, visible
from registry.sources import storable

_Q = POINT_QUALITY.c
_P = POINTS.c
_O = ORGANIZATIONS.c


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
class Faulty:
    """A point with something wrong with its picture."""

    point_id: str
    name: str
    organization: OrganizationRef
    faults: tuple[str, ...]
    faults_since: datetime | None
    looked_at: datetime | None


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


def faulty(
    connection: Connection,
    principal: Principal,
    *,
    organization: str | None = None,
    fault: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Faulty]:
    """The points of the principal's own partition whose picture has a fault, or that fault; what
    others share is for others to mend. organization: id or path, with those below it.

    Raises: NotFound for an organisation that is not seen; Invalid.
    """
    written = cast(_Q.faults, Text)
    found = select(_Q.point_id).where(
        written.contains(f'"{fault}"', autoescape=True) if fault else written != "[]"
    )
    conditions = [_P.id.in_(found), visible(_P.organization_id, principal)]
    if organization is not None:
        path = organizations.get(connection, principal, organization).ref.path
        conditions.append(owned_within(_P.organization_id, path))
    columns = (
        select(_P.id, _P.name, _O.id, _O.path, _O.name, _Q.faults, _Q.faults_since, _Q.looked_at)
        .join_from(POINTS, POINT_QUALITY, _Q.point_id == _P.id)
        .join(ORGANIZATIONS, _O.id == _P.organization_id)
    )
    return read_page(
        connection, POINTS, columns, conditions, _read_faulty, limit=limit, cursor=cursor
    )


def _read_faulty(found: Sequence[AnyRow]) -> tuple[Faulty, ...]:
    return tuple(
        Faulty(
            point_id=row[0],
            name=row[1],
            organization=OrganizationRef(id=row[2], path=row[3], name=row[4]),
            faults=tuple(row[5]),
            faults_since=row[6],
            looked_at=row[7],
        )
        for row in found
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
