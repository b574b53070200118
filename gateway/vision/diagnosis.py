"""Video quality diagnosis: what is wrong with a picture as a picture. Pure.

It looks at signal, sharpness, light, colour and whether the scene is still the same. It looks for
nobody and nothing in it.
"""

import dataclasses
import enum
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from gateway.vision import measures
from gateway.vision.availability import opencv
from gateway.vision.measures import Floats
from gateway.vision.memory import Light, Memory
from gateway.vision.picture import Picture

EVIDENCE_WIDTH = 480
_EVIDENCE_QUALITY = 75
_LEARNS = 0.2
"""How much of a good picture's outline goes into the scene: leaves fall, cars park elsewhere."""
_GREY = 1.5


class Fault(enum.StrEnum):
    SIGNAL_LOSS = "signal_loss"
    FREEZE = "freeze"
    BLUR = "blur"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    COLOUR_CAST = "colour_cast"
    NOISE = "noise"
    OCCLUSION = "occlusion"
    SCENE_MOVED = "scene_moved"


DEFAULT_THRESHOLDS: Mapping[Fault, float] = MappingProxyType(
    {
        Fault.SIGNAL_LOSS: 0.9,
        Fault.FREEZE: 0.8,
        Fault.BLUR: 0.7,
        Fault.TOO_DARK: 0.7,
        Fault.TOO_BRIGHT: 0.7,
        Fault.COLOUR_CAST: 0.55,
        Fault.NOISE: 0.5,
        Fault.OCCLUSION: 0.35,
        Fault.SCENE_MOVED: 0.55,
    }
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """score: 0 none to 1 most, None where it could not be judged; note says why then."""

    fault: Fault
    score: float | None
    threshold: float
    note: str = ""

    @property
    def found(self) -> bool:
        return self.score is not None and self.score >= self.threshold


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """scores: one for each fault, in order. memory: to be given with the next picture."""

    scores: tuple[Score, ...]
    memory: Memory

    @property
    def found(self) -> tuple[Fault, ...]:
        return tuple(each.fault for each in self.scores if each.found)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that one picture says by itself, and what it is compared by."""

    alone: Mapping[Fault, float]
    levels: Floats
    outline: Floats
    light: Light


def measure(picture: Picture) -> Measured:
    """Blocks for some milliseconds: call it in a thread. Raises: VisionUnavailable."""
    small = measures.small_of(picture)
    colour = float(np.abs(small.cb).mean() + np.abs(small.cr).mean())
    return Measured(
        alone={
            Fault.SIGNAL_LOSS: measures.uniform(small),
            Fault.BLUR: measures.blur(picture),
            Fault.TOO_DARK: measures.too_dark(small),
            Fault.TOO_BRIGHT: measures.too_bright(small),
            Fault.COLOUR_CAST: measures.colour_cast(small),
            Fault.NOISE: measures.noise(picture),
        },
        levels=measures.block_means(small),
        outline=measures.outline(small),
        light="grey" if colour < _GREY else "colour",
    )


def wants_second(
    first: Measured, memory: Memory, thresholds: Mapping[Fault, float] = DEFAULT_THRESHOLDS
) -> bool:
    """Whether a picture is so like the one of the last time that only the next keyframe can tell
    whether it stands still."""
    if memory.levels is None:
        return False
    like = measures.likeness(first.levels, memory.levels)
    return like >= thresholds.get(Fault.FREEZE, DEFAULT_THRESHOLDS[Fault.FREEZE])


def conclude(
    first: Measured,
    memory: Memory,
    *,
    stillness: float | None = None,
    thresholds: Mapping[Fault, float] = DEFAULT_THRESHOLDS,
    movable: bool = False,
) -> Diagnosis:
    """What is wrong. stillness: `measures.stillness` of the next keyframe, where `wants_second`
    asked for it. movable: the camera is turned by people, so its scene says nothing."""
    judged: dict[Fault, float | str] = dict(first.alone)
    limits = {**DEFAULT_THRESHOLDS, **thresholds}

    def has(*faults: Fault) -> bool:
        return any(isinstance(s := judged[f], float) and s >= limits[f] for f in faults)

    judged[Fault.FREEZE] = _freeze(first, memory, stillness, limits[Fault.FREEZE])
    scene = memory.scene(first.light)
    if has(Fault.SIGNAL_LOSS):
        for fault in Fault:
            if fault is not Fault.SIGNAL_LOSS:
                judged[fault] = "there is no picture to judge"
    else:
        if has(Fault.TOO_DARK, Fault.TOO_BRIGHT):
            judged[Fault.BLUR] = "the light does not let it be judged"
        unclear = has(Fault.TOO_DARK, Fault.TOO_BRIGHT, Fault.BLUR, Fault.NOISE, Fault.COLOUR_CAST)
        judged |= _against_scene(first, scene, limits, unclear=unclear, movable=movable)
    good = not has(*(fault for fault in Fault))
    return Diagnosis(
        scores=tuple(_score(fault, judged[fault], limits[fault]) for fault in Fault),
        memory=_remember(first, memory, good=good),
    )


def evidence_jpeg(picture: Picture) -> bytes:
    """A picture no wider than `EVIDENCE_WIDTH`, as JPEG. Raises: VisionUnavailable."""
    cv2 = opencv()
    height, width = picture.luma.shape
    wide = min(width, EVIDENCE_WIDTH)
    size = (wide, max(1, round(height * wide / width)))
    luma, cr, cb = (
        cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        for plane in (picture.luma, picture.cr, picture.cb)
    )
    if not picture.full_range:
        luma = cv2.convertScaleAbs(cv2.subtract(luma, 16), alpha=255 / 219)
    pixels = cv2.cvtColor(cv2.merge((luma, cr, cb)), cv2.COLOR_YCrCb2BGR)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _EVIDENCE_QUALITY])
    return bytes(encoded)


def _freeze(first: Measured, memory: Memory, stillness: float | None, limit: float) -> float | str:
    if memory.levels is None:
        return "needs an earlier picture"
    like = measures.likeness(first.levels, memory.levels)
    if stillness is not None:
        return min(like, stillness)
    # Like enough to ask for a second one, and none came: nobody knows.
    return like if like < limit else "needs another keyframe"


def _against_scene(
    first: Measured,
    scene: Floats | None,
    limits: Mapping[Fault, float],
    *,
    unclear: bool,
    movable: bool,
) -> dict[Fault, float | str]:
    note = ""
    if movable:
        note = "the camera is turned by people"
    elif scene is None:
        note = "no scene is known in this light yet"
    elif unclear:
        note = "the picture does not let it be judged"
    if note or scene is None:
        return {Fault.OCCLUSION: note, Fault.SCENE_MOVED: note}
    covered = measures.occlusion(first.outline, scene)
    turned: float | str = measures.moved(first.outline, scene)
    if covered >= limits[Fault.OCCLUSION]:
        turned = "what is left in sight does not let it be judged"
    return {Fault.OCCLUSION: covered, Fault.SCENE_MOVED: turned}


def _score(fault: Fault, judged: float | str, threshold: float) -> Score:
    if isinstance(judged, str):
        return Score(fault=fault, score=None, threshold=threshold, note=judged)
    return Score(fault=fault, score=round(judged, 3), threshold=threshold)


def _remember(first: Measured, memory: Memory, *, good: bool) -> Memory:
    """The scene is learnt from pictures without fault alone."""
    scene = memory.scene(first.light)
    if good and scene is not None:
        scene = (1 - _LEARNS) * scene + _LEARNS * first.outline
    elif good and measures.is_telling(first.outline):
        scene = first.outline
    scenes = {"colour": memory.colour, "grey": memory.grey, first.light: scene}
    return Memory(levels=first.levels, colour=scenes["colour"], grey=scenes["grey"])
