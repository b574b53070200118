"""Putting audio on the time line of its video."""

from adapters.media.rtcp import SenderReport

MAX_DISAGREEMENT_US = 3_000_000


class Lipsync:
    """Where the time of an audio track begins on that of the video, in microseconds.

    At first by the moments at which packets arrive. Once sender reports of both tracks say which
    moment of the camera's clock their times stand for, by these, unless they disagree so much
    with arrival that the camera cannot mean one clock.
    """

    def __init__(self) -> None:
        self._video_began_s: float | None = None
        self._arrival_us: int | None = None
        self._video_zero_us: int | None = None
        self._audio_zero_us: int | None = None
        self.offset_us = 0

    @property
    def began(self) -> bool:
        return self._video_began_s is not None

    def video(self, pts_us: int, now_s: float) -> None:
        """A picture came; the first one counts."""
        if self._video_began_s is None:
            self._video_began_s = now_s - pts_us / 1_000_000

    def audio(self, media_us: int, now_s: float) -> None:
        """An audio packet came after the first picture; the first one counts."""
        if self._arrival_us is None and self._video_began_s is not None:
            self._arrival_us = round((now_s - self._video_began_s) * 1_000_000) - media_us
            self.offset_us = self._arrival_us
            self._settle()

    def video_report(self, report: SenderReport, pts_us: int) -> None:
        """pts_us: the video's time of the report's timestamp."""
        if report.wall_us:
            self._video_zero_us = report.wall_us - pts_us
            self._settle()

    def audio_report(self, report: SenderReport, media_us: int) -> None:
        """media_us: the audio track's own time of the report's timestamp."""
        if report.wall_us:
            self._audio_zero_us = report.wall_us - media_us
            self._settle()

    def _settle(self) -> None:
        if self._video_zero_us is None or self._audio_zero_us is None or self._arrival_us is None:
            return
        offset_us = self._audio_zero_us - self._video_zero_us
        if abs(offset_us - self._arrival_us) <= MAX_DISAGREEMENT_US:
            self.offset_us = offset_us
