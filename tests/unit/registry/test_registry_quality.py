"""Reports of video quality: one a point, replaced by each look, gone with its point."""

import dataclasses
from datetime import timedelta

import pytest
from databases import Registry

from registry import devices, organizations, points, quality, shares
from registry.devices import NewDevice
from registry.errors import Conflict, Forbidden, NotFound
from registry.identity import new_id, now
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.quality import FaultScore, Finding, QualityReport, Subject
from registry.shares import NewShare
from registry.sources import FoundSource

pytest_plugins = ["databases"]

BLURRED = FaultScore(fault="blur", score=0.83, threshold=0.7, found=True)
UNKNOWN = FaultScore(
    fault="freeze", score=None, threshold=0.8, found=False, note="needs an earlier picture"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Camera:
    registry: Registry
    point_id: str
    device_id: str

    def subject(self) -> Subject:
        found = self.registry(quality.subject, self.point_id)
        assert found is not None
        return found

    def report(self) -> QualityReport:
        return self.registry(quality.of_point, SYSTEM, self.point_id)

    def find(self, **finding: object) -> bool:
        given = {"looked_at": now(), "outcome": "judged", **finding}
        return self.registry(quality.store, self.subject(), Finding(**given))  # type: ignore[arg-type]


@pytest.fixture
def camera(registry: Registry) -> Camera:
    for slug, name in (("d", "D"), ("e", "E")):
        new = NewOrganization(kind="district", name=name, slug=slug)
        registry(organizations.create, SYSTEM, new)
    new_device = NewDevice(adapter="onvif", endpoint="camera", organization="d")
    sources = [FoundSource(address="1", capabilities=("ptz",)), FoundSource(address="2")]
    made = registry(devices.register, SYSTEM, new_device, sources)
    device = registry(devices.get, SYSTEM, made.device_id)
    by_address = {source.address: source.point_id for source in device.sources}
    return Camera(registry, by_address["1"] or "", device.id)


def principal(role: Role, path: str) -> Principal:
    return Principal(
        user_id=new_id(), name="p", grants=(Grant(role=role, organization_id="", path=path),)
    )


def test_before_the_first_look_there_is_nothing_to_tell(camera: Camera) -> None:
    assert camera.report() == QualityReport()
    subject = camera.subject()
    assert (subject.memory, subject.faults, subject.movable, subject.masked) == (
        b"",
        (),
        True,
        False,
    )
    watched = camera.registry(quality.watched)
    assert len(watched) == 2
    assert {each.looked_at for each in watched} == {None}


def test_each_look_replaces_the_report_and_its_picture(camera: Camera) -> None:
    at = now()
    assert camera.find(
        looked_at=at, scores=(BLURRED, UNKNOWN), faults=("blur",), memory=b"m1", evidence=b"jpeg"
    )
    report = camera.report()
    assert report == QualityReport(
        outcome="judged",
        looked_at=at,
        scores=(BLURRED, UNKNOWN),
        faults=("blur",),
        faults_since=at,
        has_evidence=True,
    )
    assert camera.registry(quality.evidence, camera.point_id) == b"jpeg"
    later = at + timedelta(hours=4)
    camera.find(looked_at=later, scores=(BLURRED,), faults=("blur",), memory=b"m2")
    assert camera.report().faults_since == at  # the same as before
    assert camera.registry(quality.evidence, camera.point_id) is None
    assert camera.subject().memory == b"m2"
    looked = [each.looked_at for each in camera.registry(quality.watched) if each.looked_at]
    assert looked == [later]


def test_no_picture_ends_no_fault_and_keeps_no_evidence(camera: Camera) -> None:
    at = now()
    camera.find(looked_at=at, faults=("blur",), memory=b"m", evidence=b"jpeg")
    camera.find(looked_at=at + timedelta(hours=1), outcome="no_picture", reason="nobody answers")
    report = camera.report()
    assert (report.outcome, report.reason, report.scores) == ("no_picture", "nobody answers", ())
    assert (report.faults, report.faults_since, report.has_evidence) == (("blur",), at, False)
    assert camera.subject().memory == b"m"


def test_another_camera_at_the_point_has_another_memory(camera: Camera) -> None:
    camera.find(memory=b"m", faults=())
    other = next(
        each.point_id
        for each in camera.registry(quality.watched)
        if each.point_id != camera.point_id
    )
    camera.registry(points.clear_source, SYSTEM, other)
    camera.registry(points.set_source, SYSTEM, camera.point_id, camera.device_id, "2")
    assert camera.subject().memory == b""
    assert not camera.subject().movable
    camera.find(outcome="no_picture")
    assert camera.registry(quality.memory_of, camera.point_id) is None


def test_a_masked_point_keeps_no_evidence(camera: Camera) -> None:
    subject = camera.subject()
    camera.registry(points.update, SYSTEM, camera.point_id, {"masked": True})
    finding = Finding(looked_at=now(), outcome="judged", faults=("blur",), evidence=b"jpeg")
    assert camera.registry(quality.store, subject, finding)
    assert camera.registry(quality.evidence, camera.point_id) is None
    assert camera.subject().masked


def test_it_goes_with_its_point_and_comes_back_for_none(camera: Camera) -> None:
    subject = camera.subject()
    camera.find(memory=b"m")
    camera.registry(points.delete, SYSTEM, camera.point_id)
    finding = Finding(looked_at=now(), outcome="judged")
    assert not camera.registry(quality.store, subject, finding)
    assert camera.registry(quality.subject, camera.point_id) is None
    assert camera.registry(quality.memory_of, camera.point_id) is None
    with pytest.raises(NotFound):
        camera.report()


def test_those_with_faults_are_listed_in_the_own_partition(camera: Camera) -> None:
    viewer, stranger = principal(Role.VIEWER, "d"), principal(Role.VIEWER, "e")

    def listed(who: Principal, **wanted: object) -> list[tuple[str, ...]]:
        page = camera.registry(quality.faulty, who, **wanted)
        assert page.total == len(page.items)
        return [each.faults for each in page.items]

    assert listed(viewer) == []
    camera.find(faults=())
    assert listed(viewer) == []
    at = now()
    camera.find(looked_at=at, faults=("blur", "noise"))
    (only,) = camera.registry(quality.faulty, viewer).items
    assert (only.point_id, only.organization.path) == (camera.point_id, "d")
    assert (only.faults, only.faults_since, only.looked_at) == (("blur", "noise"), at, at)
    assert listed(viewer, fault="noise") == [("blur", "noise")]
    assert listed(viewer, fault="freeze") == []
    assert listed(viewer, organization="d") == [("blur", "noise")]
    assert listed(stranger) == []
    with pytest.raises(NotFound):
        listed(viewer, organization="e")
    # What is shared is for others to mend.
    new = NewShare(to="e", point=camera.point_id, purpose="p", ends_at=at + timedelta(days=1))
    camera.registry(shares.create, SYSTEM, new)
    assert camera.registry(quality.of_point, stranger, camera.point_id).faults == ("blur", "noise")
    assert listed(stranger) == []


def test_thresholds_are_set_by_who_integrates_there_and_recorded(camera: Camera) -> None:
    integrator = principal(Role.INTEGRATOR, "d")
    report = camera.registry(
        quality.set_thresholds, integrator, camera.point_id, {"blur": 0.9, "noise": 1.1}
    )
    assert report.thresholds == {"blur": 0.9, "noise": 1.1}
    assert camera.subject().thresholds == report.thresholds
    camera.find(memory=b"m")
    assert camera.report().thresholds == report.thresholds
    assert camera.registry(quality.set_thresholds, integrator, camera.point_id, {}).thresholds == {}
    with pytest.raises(Forbidden):
        camera.registry(quality.set_thresholds, principal(Role.VIEWER, "d"), camera.point_id, {})
    with pytest.raises(NotFound):
        camera.registry(
            quality.set_thresholds, principal(Role.INTEGRATOR, "e"), camera.point_id, {}
        )


def test_a_scene_is_forgotten_by_who_integrates_there(camera: Camera) -> None:
    integrator = principal(Role.INTEGRATOR, "d")
    with pytest.raises(Conflict):
        camera.registry(quality.set_memory, integrator, camera.point_id, b"less")
    camera.find(memory=b"m")
    camera.registry(quality.set_memory, integrator, camera.point_id, b"less")
    assert camera.subject().memory == b"less"
    with pytest.raises(Forbidden):
        camera.registry(quality.set_memory, principal(Role.VIEWER, "d"), camera.point_id, b"")
