"""Painted pictures: a street that is fine, and the same street with one thing wrong.

PYTEST_DONT_REWRITE: test modules import this before pytest does, and it asserts nothing.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import av
import cv2
import numpy as np

from gateway.vision.picture import Picture, picture_of_pixels
from simulators.clips import ClipParameters, encode_clip

WIDTH, HEIGHT = 640, 360
Pixels = Any


def street(seed: int = 1) -> Pixels:
    chance = np.random.default_rng(seed)
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[: HEIGHT // 2] = np.linspace(220, 150, HEIGHT // 2)[:, None, None]
    pixels[HEIGHT // 2 :] = np.linspace(120, 60, HEIGHT - HEIGHT // 2)[:, None, None]
    for _ in range(40):
        left, top = int(chance.integers(0, WIDTH)), int(chance.integers(HEIGHT // 6, HEIGHT))
        wide, tall = int(chance.integers(20, 80)), int(chance.integers(18, 72))
        colour = tuple(int(level) for level in chance.integers(30, 220, 3))
        cv2.rectangle(pixels, (left, top), (left + wide, top + tall), colour, -1)
    for _ in range(20):
        start, end = chance.integers(0, [WIDTH, HEIGHT], (2, 2)).tolist()
        colour = tuple(int(level) for level in chance.integers(20, 230, 3))
        cv2.line(pixels, start, end, colour, 2)
    return pixels


def taken(pixels: Pixels, shot: int = 0) -> Picture:
    """As a camera would deliver it: with a little noise, another one for each shot."""
    grain = np.random.default_rng(shot).normal(0, 2, pixels.shape)
    return picture_of_pixels(_levels(pixels + grain))


def _levels(pixels: Any) -> Pixels:
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _covered(pixels: Pixels) -> Pixels:
    pixels = pixels.copy()
    pixels[:, : WIDTH * 6 // 10] = 90
    return pixels


def _no_signal(pixels: Pixels) -> Pixels:
    pixels = np.full_like(pixels, (200, 30, 10))
    cv2.putText(pixels, "NO SIGNAL", (200, 180), 0, 1.5, (255, 255, 255), 3)
    return pixels


WRONG: Mapping[str, Callable[[Pixels], Pixels]] = {
    "signal_loss": _no_signal,
    "blur": lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 3),
    "too_dark": lambda pixels: _levels(pixels * 0.1),
    "too_bright": lambda pixels: _levels(pixels * 3.0 + 100),
    "colour_cast": lambda pixels: _levels(pixels + np.array([60.0, 0.0, -30.0])),
    "noise": lambda pixels: _levels(pixels + np.random.default_rng(3).normal(0, 25, pixels.shape)),
    "occlusion": _covered,
    "scene_moved": lambda pixels: np.roll(pixels, WIDTH // 4, axis=1),
}
"""Each fault that one picture shows, painted."""


def clip_frames(parameters: ClipParameters, indices: tuple[int, ...]) -> list[av.VideoFrame]:
    """Decoded frames of a clip as the simulated cameras send it."""
    clip = encode_clip(parameters)
    decoder = av.CodecContext.create("h264", "r")
    frames: list[Any] = []
    for number, unit in enumerate(clip.frames):
        sets = [clip.sps, clip.pps] if number == 0 else []
        data = b"".join(itertools.chain.from_iterable((b"\0\0\0\1", n) for n in (*sets, *unit)))
        frames += decoder.decode(av.Packet(data))
    frames += decoder.decode(None)
    return [frames[index] for index in indices]
