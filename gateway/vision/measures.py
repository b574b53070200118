"""What can be measured on one picture, and against what was remembered of earlier ones.

Pure functions. All scores are 0 (nothing of it) to 1 (nothing but it).
"""

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from gateway.vision.availability import opencv
from gateway.vision.picture import Picture, Plane

Floats = NDArray[np.float32]

SMALL = (320, 180)
BLOCKS = (16, 9)
BINS = 8
_OUTLINE = (160, 90)
_SHARP_WIDTH = 640
_STEP = 4
"""Levels between neighbours, after the grain is smoothed: smaller ones are noise."""
_STEPS = 0.02
"""Sum of steps a pixel, below which a picture has no edge at all."""
_NOISE_BOX = (240, 427)
_TEXTURE = 4.0
"""Mean gradient, in levels a pixel of the small picture, from which a block has something on it."""
_LOST = 0.3
_LEAST_TEXTURED = 12


@dataclasses.dataclass(frozen=True, slots=True)
class Small:
    """The picture at 320 x 180, luma stretched to 0..255; chroma at 80 x 45 around 0.
    histogram: of luma, 256 counts."""

    luma: Plane
    histogram: NDArray[np.int64]
    cb: Floats
    cr: Floats


def small_of(picture: Picture) -> Small:
    cv2 = opencv()
    luma = cv2.resize(picture.luma, SMALL, interpolation=cv2.INTER_AREA)
    if not picture.full_range:
        luma = cv2.convertScaleAbs(cv2.subtract(luma, 16), alpha=255 / 219)
    quarter = (SMALL[0] // 4, SMALL[1] // 4)
    cb, cr = (
        cv2.resize(plane, quarter, interpolation=cv2.INTER_AREA).astype(np.float32) - 128
        for plane in (picture.cb, picture.cr)
    )
    return Small(luma, np.bincount(luma.ravel(), minlength=256), cb, cr)


def uniform(small: Small) -> float:
    """The share of the picture that is one and the same colour: a blue or black screen."""
    level = int(small.histogram.argmax())
    same = np.abs(small.luma[::4, ::4].astype(np.int16) - level) <= 3
    for plane in (small.cb, small.cr):
        same &= np.abs(plane - np.median(plane)) <= 4
    return float(same.mean())


def too_dark(small: Small) -> float:
    """Even the brightest tenth is dark: a street with a lamp is not."""
    return _within(1 - _level(small, 0.9) / 120)


def too_bright(small: Small) -> float:
    """Even the darkest tenth is bright."""
    return _within((_level(small, 0.1) - 135) / 120)


def _level(small: Small, share: float) -> int:
    """The level that a share of the picture is not above."""
    total = np.cumsum(small.histogram)
    return int(np.searchsorted(total, share * total[-1]))


def colour_cast(small: Small) -> float:
    """How strong the mean colour is, times the share of the picture that has it."""
    cb, cr = float(small.cb.mean()), float(small.cr.mean())
    strength = float(np.hypot(cb, cr))
    if strength < 1:
        return 0.0
    along = (small.cb * cb + small.cr * cr) / strength
    return _within(strength / 40) * float((along >= strength / 2).mean())


def blur(picture: Picture) -> float:
    """How little a picture loses when it is blurred once more.

    Source: the no-reference metric of Crete, Dolmiere, Ladret and Nicolas, SPIE 6492 (2007).
    """
    cv2 = opencv()
    luma = picture.luma
    height, width = luma.shape
    if width > _SHARP_WIDTH:
        size = (_SHARP_WIDTH, max(9, round(height * _SHARP_WIDTH / width)))
        luma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    luma = cv2.GaussianBlur(luma, (5, 5), 1.1)
    return max(_kept(luma, (1, 9), 0), _kept(luma, (9, 1), 1))


def _kept(luma: Plane, kernel: tuple[int, int], axis: int) -> float:
    """The share of its steps that a picture keeps, of those that are no noise."""
    cv2 = opencv()
    blurred = cv2.blur(luma, kernel)
    if axis == 0:
        own = cv2.absdiff(luma[1:], luma[:-1])
        left = cv2.absdiff(blurred[1:], blurred[:-1])
    else:
        own = cv2.absdiff(luma[:, 1:], luma[:, :-1])
        left = cv2.absdiff(blurred[:, 1:], blurred[:, :-1])
    _, own = cv2.threshold(own, _STEP - 1, 0, cv2.THRESH_TOZERO)
    total = cv2.sumElems(own)[0]
    if total < _STEPS * own.size:
        return 1.0
    return 1 - float(cv2.sumElems(cv2.subtract(own, left))[0] / total)


def noise(picture: Picture) -> float:
    """By the median response to a filter that lines and slopes do not excite; 1 is a standard
    deviation of 20 levels.

    Source: J. Immerkaer, Fast Noise Variance Estimation, CVIU 64 (1996); with a median for the
    mean, so that edges count little.
    """
    cv2 = opencv()
    height, width = picture.luma.shape
    tall, wide = min(height, _NOISE_BOX[0]), min(width, _NOISE_BOX[1])
    top, left = (height - tall) // 2, (width - wide) // 2
    box = picture.luma[top : top + tall, left : left + wide]
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    answer = np.abs(cv2.filter2D(box, cv2.CV_16S, kernel)[::2, ::2]).ravel()
    counts = np.cumsum(np.bincount(np.minimum(answer, 1023)))
    median = int(np.searchsorted(counts, answer.size / 2))
    return _within(median / (0.6745 * 6) / 20)


# --- against earlier pictures -----------------------------------------------------------------


def block_means(small: Small) -> Floats:
    """9 x 16 mean levels: equal to those of hours ago only where the picture stands still."""
    cv2 = opencv()
    shrunk = cv2.resize(small.luma.astype(np.float32), BLOCKS, interpolation=cv2.INTER_AREA)
    means: Floats = shrunk
    return means


def likeness(now: Floats, before: Floats) -> float:
    """1 where two pictures have the same mean levels: either stands still, or nothing happened."""
    return _within(1 - float(np.abs(now - before).mean()) / 0.5)


def stillness(now: Picture, before: Picture) -> float:
    """1 where two pictures are the same point by point: the grain of a camera that lives never
    is. A mean difference of one level is 0."""
    if now.luma.shape != before.luma.shape:
        return 0.0
    difference = opencv().absdiff(now.luma, before.luma)
    return _within(1 - float(difference.mean()))


def outline(small: Small) -> Floats:
    """9 x 16 x 8: how much edge of which direction each block has, mean gradient in levels."""
    cv2 = opencv()
    smooth = cv2.resize(small.luma, _OUTLINE, interpolation=cv2.INTER_AREA)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125)
    size, angle = cv2.cartToPolar(across, down)
    # 0..2π; opposite directions are one edge.
    cells = _block_of_each_point() + (angle * (BINS / np.pi)).astype(np.int64) % BINS
    sums = np.bincount(cells.ravel(), size.ravel(), BLOCKS[0] * BLOCKS[1] * BINS)
    points = _OUTLINE[0] // BLOCKS[0] * (_OUTLINE[1] // BLOCKS[1])
    return (sums / points).astype(np.float32).reshape(BLOCKS[1], BLOCKS[0], BINS)


@functools.cache
def _block_of_each_point() -> NDArray[np.int64]:
    """90 x 160: the number of the block that a point is in, times `BINS`."""
    rows = np.arange(_OUTLINE[1]) // (_OUTLINE[1] // BLOCKS[1])
    columns = np.arange(_OUTLINE[0]) // (_OUTLINE[0] // BLOCKS[0])
    return (rows[:, None] * BLOCKS[0] + columns) * BINS


def is_telling(reference: Floats) -> bool:
    """Whether a picture has enough on it to be recognised by."""
    return int((reference.sum(-1) >= _TEXTURE).sum()) >= _LEAST_TEXTURED


def occlusion(now: Floats, reference: Floats) -> float:
    """The share of what the reference has something on, where there is nothing now, less what is
    new elsewhere: a turned camera loses and gains."""
    have, had = now.sum(-1), reference.sum(-1)
    textured = had >= _TEXTURE
    lost = int((textured & (have < _LOST * had)).sum())
    gained = int(((had < _LOST * have) & (have >= _TEXTURE)).sum())
    return _within((lost - gained) / max(1, int(textured.sum())))


def moved(now: Floats, reference: Floats) -> float:
    """1 less the correlation of both outlines."""
    first, second = np.sqrt(now), np.sqrt(reference)
    first, second = (each - each.mean(axis=(0, 1)) for each in (first, second))
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return _within(1 - float((first * second).sum()) / scale) if scale else 1.0


def _within(value: float) -> float:
    return min(1.0, max(0.0, value))
