"""Each fault alone is found and nothing else; what is fine passes."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from painted import HEIGHT, WIDTH, WRONG, clip_frames, street, taken

from gateway.vision import diagnosis
from gateway.vision.diagnosis import Diagnosis, Fault, conclude, evidence_jpeg, measure
from gateway.vision.measures import stillness
from gateway.vision.memory import NOTHING, Memory, from_bytes, to_bytes
from gateway.vision.picture import Picture, picture_of, picture_of_jpeg
from simulators.clips import ClipParameters


def looked(picture: Picture, memory: Memory = NOTHING, **more: object) -> Diagnosis:
    return conclude(measure(picture), memory, **more)  # type: ignore[arg-type]


def scores(found: Diagnosis) -> dict[Fault, float | None]:
    return {each.fault: each.score for each in found.scores}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("fault", sorted(WRONG))
def test_each_fault_alone_is_found(fault: str, seed: int) -> None:
    known = looked(taken(street(seed))).memory
    found = looked(taken(WRONG[fault](street(seed)), shot=1), known).found
    assert found == (Fault(fault),)


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_good_picture_passes_by_day_and_at_dusk(seed: int) -> None:
    first = looked(taken(street(seed)))
    assert first.found == ()
    for shot, light in enumerate((1.0, 0.8, 0.5), start=1):
        dimmed = (street(seed) * light).astype(np.uint8)
        again = looked(taken(dimmed, shot), first.memory, stillness=0.0)
        assert again.found == (), light
        assert None not in scores(again).values()


@pytest.mark.parametrize("variant", range(4))
def test_the_simulated_cameras_pictures_pass(variant: int) -> None:
    memory = NOTHING
    for frame in clip_frames(ClipParameters(variant=variant), (0, 15, 37, 60, 89)):
        found = looked(picture_of(frame), memory)
        assert found.found == ()
        memory = found.memory


@pytest.mark.parametrize("size", [(1920, 1080), (704, 576), (320, 192)])
def test_pictures_of_any_size_are_judged(size: tuple[int, int]) -> None:
    width, height = size
    good = cv2.resize(street(), (width, height), interpolation=cv2.INTER_NEAREST)
    known = looked(taken(good))
    assert known.found == ()
    blurred = cv2.GaussianBlur(good, (0, 0), 6 * width / WIDTH)
    assert looked(taken(blurred, 1), known.memory).found == (Fault.BLUR,)


def test_a_night_picture_in_grey_is_another_light_and_not_another_scene() -> None:
    day = looked(taken(street())).memory
    grey = cv2.cvtColor(cv2.cvtColor(street(4), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    night = looked(taken_grey(grey), day)
    assert night.found == ()
    assert scores(night)[Fault.SCENE_MOVED] is None
    assert looked(taken(street(), 2), night.memory).found == ()
    assert looked(taken_grey(np.roll(grey, WIDTH // 4, axis=1)), night.memory).found == (
        Fault.SCENE_MOVED,
    )


def taken_grey(pixels: np.ndarray) -> Picture:
    picture = taken(pixels, 3)
    none = np.full_like(picture.cb, 128)
    return dataclasses.replace(picture, cb=none, cr=none)


def test_a_picture_stands_still_only_where_the_next_keyframe_is_the_same_too() -> None:
    picture, later = taken(street(), 1), taken(street(), 2)
    first = measure(picture)
    memory = conclude(first, NOTHING).memory
    assert scores(conclude(first, NOTHING))[Fault.FREEZE] is None
    assert not diagnosis.wants_second(first, NOTHING)
    # An empty corridor with a lamp: the same all night, but for the grain.
    assert diagnosis.wants_second(measure(later), memory)
    assert conclude(measure(later), memory, stillness=stillness(later, picture)).found == ()
    assert conclude(first, memory, stillness=stillness(picture, picture)).found == (Fault.FREEZE,)
    assert scores(conclude(first, memory))[Fault.FREEZE] is None
    dusk = measure(taken((street() * 0.99).astype(np.uint8), 2))
    assert not diagnosis.wants_second(dusk, memory)
    assert conclude(dusk, memory).found == ()
    assert stillness(picture, taken(street()[:180])) == 0


def test_a_passer_by_or_a_parked_car_moves_no_scene() -> None:
    known = looked(taken(street())).memory
    pixels = street()
    cv2.rectangle(pixels, (100, 90), (190, 300), (40, 60, 160), -1)
    cv2.rectangle(pixels, (360, 220), (520, 300), (10, 10, 10), -1)
    assert looked(taken(pixels, 1), known).found == ()


def test_a_scene_that_changes_slowly_is_learnt_and_one_with_a_fault_is_not() -> None:
    memory = looked(taken(street())).memory
    dark = looked(taken(WRONG["too_dark"](street())), memory)
    assert dark.memory.colour is memory.colour
    turned = WRONG["scene_moved"](street())
    for shot in range(20):  # nobody gets used to a camera that was turned
        seen = looked(taken(turned, shot), memory)
        assert seen.found == (Fault.SCENE_MOVED,)
        memory = seen.memory
    fresh = looked(taken(turned), memory.without_scene())
    assert fresh.found == ()
    assert looked(taken(turned, 1), fresh.memory).found == ()


def test_a_camera_that_people_turn_has_no_scene() -> None:
    known = looked(taken(street())).memory
    for fault in ("scene_moved", "occlusion"):
        assert looked(taken(WRONG[fault](street()), 1), known, movable=True).found == ()


def test_thresholds_are_the_points_own() -> None:
    picture = taken(street())
    strict = looked(picture, thresholds={Fault.BLUR: 0.01})
    assert strict.found == (Fault.BLUR,)
    never = looked(taken(WRONG["blur"](street())), thresholds={Fault.BLUR: 1.01})
    assert never.found == ()
    assert {each.fault: each.threshold for each in strict.scores} == {
        **diagnosis.DEFAULT_THRESHOLDS,
        Fault.BLUR: 0.01,
    }


def test_a_lost_signal_is_judged_for_nothing_else() -> None:
    found = looked(taken(WRONG["signal_loss"](street())))
    assert [each.fault for each in found.scores if each.score is not None] == [Fault.SIGNAL_LOSS]
    assert all(each.note for each in found.scores if each.score is None)


def test_evidence_is_small_and_shows_the_picture() -> None:
    pixels = cv2.resize(street(), (1920, 1080))
    data = evidence_jpeg(taken(pixels))
    assert len(data) < 60_000
    shown = picture_of_jpeg(data)
    assert shown.luma.shape == (270, 480)
    small = cv2.resize(taken(pixels).luma, (480, 270), interpolation=cv2.INTER_AREA)
    assert np.abs(shown.luma.astype(int) - small).mean() < 4
    (frame,) = clip_frames(ClipParameters(duration_s=1), (0,))
    rgb = frame.to_ndarray(format="bgr24")
    decoded = cv2.imdecode(np.frombuffer(evidence_jpeg(picture_of(frame)), np.uint8), 1)
    assert np.abs(cv2.resize(rgb, (480, 270)).astype(int) - decoded).mean() < 8


def test_memory_is_small_and_comes_back_as_it_was() -> None:
    memory = looked(taken(street())).memory
    data = to_bytes(memory)
    assert len(data) < 2000
    back = from_bytes(data)
    assert back.grey is None
    assert back.levels is not None
    assert back.colour is not None
    assert np.abs(back.levels - memory.levels).max() < 0.01
    assert np.abs(back.colour - memory.colour).max() < 0.3
    assert looked(taken(street(), 1), back).found == ()
    assert from_bytes(to_bytes(NOTHING)) == NOTHING


@given(st.binary(max_size=3000))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_a_memory_or_nothing(data: bytes) -> None:
    memory = from_bytes(b"\x01" + data)
    assert memory.levels is None or memory.levels.shape == (9, 16)


def test_the_smallest_pictures_do_not_break_it() -> None:
    for height, width in ((16, 16), (9, 300), (HEIGHT, 2)):
        looked(taken(np.zeros((height, width, 3), np.uint8)))


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["random", "flat", "halves", "street"]),
    st.sampled_from([(640, 360), (352, 288), (64, 48), (17, 11)]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_whatever_a_camera_shows_every_score_is_one(
    seed: int, kind: str, size: tuple[int, int], full_range: bool
) -> None:
    chance = np.random.default_rng(seed)
    width, height = size
    if kind == "random":
        pixels = chance.integers(0, 256, (height, width, 3), np.uint8)
    elif kind == "flat":
        pixels = np.full((height, width, 3), chance.integers(0, 256, 3), np.uint8)
    elif kind == "halves":
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[:, width // 2 :] = chance.integers(0, 256, 3)
    else:
        pixels = cv2.resize(street(seed % 5), size)
    picture = dataclasses.replace(taken(pixels), full_range=full_range)
    first = looked(picture)
    again = looked(picture, first.memory, stillness=stillness(picture, picture))
    for each in (*first.scores, *again.scores):
        assert each.score is None or 0 <= each.score <= 1
        assert (each.score is None) == bool(each.note)
    assert [each.fault for each in again.scores] == list(Fault)
    assert evidence_jpeg(picture)[:2] == b"\xff\xd8"


@pytest.mark.parametrize("pixel_format", ["yuvj422p", "yuv444p", "gray", "yuv420p10le", "nv12"])
def test_pictures_of_other_formats_are_judged_alike(pixel_format: str) -> None:
    (frame,) = clip_frames(ClipParameters(duration_s=1), (0,))
    other = picture_of(frame.reformat(format=pixel_format))
    assert other.luma.shape == (360, 640)
    assert other.cb.shape == (180, 320)
    known = looked(picture_of(frame)).memory
    assert looked(other, known).found == ()
