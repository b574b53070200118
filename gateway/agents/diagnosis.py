"""Video quality diagnosis of a node's points: looks at each in its turn and reports.

The report goes to the registry; what begins or ends is told on the bus. A picture lives from its
keyframe to its report, and in the report only as evidence of a fault.
"""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from adapters.base import Adapter, MediaSource
from adapters.errors import AdapterError, Busy, TimedOut
from adapters.media import ThreadSlots
from gateway.agents.device import DeviceAgent
from gateway.agents.rota import Rota, Turn
from gateway.vision import Diagnosis, Fault, PicturePool, Score, available, look
from gateway.vision.memory import from_bytes, to_bytes
from registry import quality
from registry.database import Database
from registry.errors import Conflict, DatabaseAway
from registry.quality import FaultScore, Finding, Subject

log = structlog.get_logger("diagnosis")

PERIOD_S = 4 * 3600.0
AT_ONCE = 8
READ_POINTS_EVERY_S = 30.0
LOOK_AT_DEVICES_EVERY_S = 1.0
AGAIN_IN_S = 300.0
"""A device that is away, or has no session free for us, is asked again so much later."""
PYAV_THREADS = 4


@dataclasses.dataclass(slots=True)
class DiagnosisCounters:
    """looks: reports written. no_picture: those of them without one. put_off: turns that could not
    be taken, for the device was away or busy. found: looks that found each fault."""

    looks: int = 0
    no_picture: int = 0
    put_off: int = 0
    found: Counter[Fault] = dataclasses.field(default_factory=Counter)


class DiagnosisRounds:
    """agents: the device agents of this node, by device id. period_s: within which every point
    whose device is online is looked at once."""

    def __init__(
        self,
        database: Database,
        agents: Mapping[str, DeviceAgent],
        *,
        period_s: float = PERIOD_S,
        at_once: int = AT_ONCE,
        look_timeout_s: float = 10.0,
    ) -> None:
        self.counters = DiagnosisCounters()
        self.under_way = 0
        self._database = database
        self._agents = agents
        self._at_once = at_once
        self._look_timeout_s = look_timeout_s
        self._rota = Rota(period_s)
        self._changed = asyncio.Event()
        self._slots = ThreadSlots(PYAV_THREADS)
        self._now_s: Callable[[], float] = asyncio.get_running_loop().time

    @property
    def points(self) -> int:
        """How many points have a turn."""
        return len(self._rota)

    def late_s(self) -> float:
        return self._rota.late_s(self._now_s())

    async def run(self) -> None:
        """Until cancelled. Without OpenCV it says so once, and waits for ever."""
        usable, sentence = available()
        if not usable:
            log.warning("pictures are not judged", reason=sentence)
            await asyncio.Event().wait()
        async with PicturePool(threads=1) as pool, asyncio.TaskGroup() as group:
            group.create_task(self._follow_points())
            while True:
                await self._wait()
                while self.under_way < self._at_once:
                    turn = self._rota.start(self._now_s())
                    if turn is None:
                        break
                    self.under_way += 1
                    group.create_task(self._take(turn, pool))

    async def _follow_points(self) -> None:
        """Read them anew when devices came or went, and now and then, for points that did."""
        read_s, devices = float("-inf"), frozenset[str]()
        while True:
            now_s, present = self._now_s(), frozenset(self._agents)
            if present != devices or now_s - read_s >= READ_POINTS_EVERY_S:
                try:
                    await self._read_points()
                    read_s, devices = now_s, present
                except DatabaseAway:
                    pass  # the points that were known keep their turns
                except Exception:
                    # Tables of an older version, say: no reason to end the node.
                    log.exception("points not read")
                    read_s = now_s
            await asyncio.sleep(LOOK_AT_DEVICES_EVERY_S)

    async def _read_points(self) -> None:
        now = datetime.now(UTC)
        watched = await self._database.read(quality.watched)
        turns = [
            Turn(
                point_id=each.point_id,
                device_id=each.device_id,
                age_s=(now - each.looked_at).total_seconds() if each.looked_at else None,
            )
            for each in watched
            if each.device_id in self._agents
        ]
        self._rota.replace(turns, self._now_s())
        self._changed.set()

    async def _wait(self) -> None:
        """Until somebody is due and there is room, or something changed."""
        room = self.under_way < self._at_once
        due_s = self._rota.next_s() if room else None
        try:
            async with asyncio.timeout_at(due_s):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    async def _take(self, turn: Turn, pool: PicturePool) -> None:
        again_in_s: float | None = min(AGAIN_IN_S, self._rota.period_s / 4)
        try:
            if await self._look_at(turn, pool):
                again_in_s = None
            else:
                self.counters.put_off += 1
        except (DatabaseAway, Conflict):
            self.counters.put_off += 1  # Conflict: the point went while it was looked at
        except Exception:
            # One picture that nobody foresaw must not end the rounds.
            log.exception("look failed", point=turn.point_id)
            again_in_s = None
        finally:
            self.under_way -= 1
            self._rota.done(turn.point_id, self._now_s(), again_in_s=again_in_s)
            self._changed.set()

    async def _look_at(self, turn: Turn, pool: PicturePool) -> bool:
        """Look and report; False where the device is away or busy."""
        agent = self._agents.get(turn.device_id)
        if agent is None or agent.adapter is None:
            return False
        subject = await self._database.read(lambda c: quality.subject(c, turn.point_id))
        if subject is None or subject.device_id != turn.device_id or agent.adapter is None:
            return False
        at = datetime.now(UTC)
        try:
            source = await self._source(agent.adapter, subject.address)
            finding, diagnosis = await self._judge(subject, source, pool, at)
        except Busy:
            return False
        except AdapterError as error:
            # The message is written for who may see the point; where the device is stays out.
            diagnosis = None
            finding = Finding(looked_at=at, outcome="no_picture", reason=error.message)
        stored = await self._database.write(lambda c: quality.store(c, subject, finding))
        if stored:
            self._count(finding, diagnosis)
            self._tell(agent, subject, finding)
        return True

    async def _source(self, adapter: Adapter, address: str) -> MediaSource:
        """Raises: AdapterError, also where the device does not say in time."""
        try:
            async with asyncio.timeout(self._look_timeout_s):
                return await adapter.open_media(address, "main")
        except TimeoutError:
            raise TimedOut("it did not say in time where its stream is") from None

    async def _judge(
        self, subject: Subject, source: MediaSource, pool: PicturePool, at: datetime
    ) -> tuple[Finding, Diagnosis]:
        seen = await look(
            source,
            pool=pool,
            memory=from_bytes(subject.memory),
            thresholds=thresholds_of(subject.thresholds),
            movable=subject.movable,
            evidence=not subject.masked,
            timeout_s=self._look_timeout_s,
            slots=self._slots,
        )
        finding = Finding(
            looked_at=at,
            outcome="judged",
            scores=tuple(_stored(score) for score in seen.diagnosis.scores),
            faults=tuple(fault.value for fault in seen.diagnosis.found),
            memory=to_bytes(seen.diagnosis.memory),
            evidence=seen.evidence,
        )
        return finding, seen.diagnosis

    def _count(self, finding: Finding, diagnosis: Diagnosis | None) -> None:
        self.counters.looks += 1
        self.counters.no_picture += finding.outcome == "no_picture"
        if diagnosis is not None:
            self.counters.found.update(diagnosis.found)

    def _tell(self, agent: DeviceAgent, subject: Subject, finding: Finding) -> None:
        """One event when faults begin or end, and none while all stays as it is."""
        if finding.faults is None or set(finding.faults) == set(subject.faults):
            return
        agent.announce(subject.point_id, "point.quality", quality_event(subject.faults, finding))


def quality_event(before: Sequence[str], finding: Finding) -> dict[str, Any]:
    """The data of `point.quality`; never a picture."""
    faults = finding.faults or ()
    return {
        "active": bool(faults),
        "faults": [
            {"fault": each.fault, "score": each.score, "threshold": each.threshold}
            for each in finding.scores
            if each.found
        ],
        "began": sorted(set(faults) - set(before)),
        "ended": sorted(set(before) - set(faults)),
    }


def thresholds_of(stored: Mapping[str, float]) -> dict[Fault, float]:
    """A fault that this version does not know is passed over."""
    return {Fault(name): float(value) for name, value in stored.items() if name in set(Fault)}


def _stored(score: Score) -> FaultScore:
    return FaultScore(
        fault=score.fault.value,
        score=score.score,
        threshold=score.threshold,
        found=score.found,
        note=score.note,
    )
