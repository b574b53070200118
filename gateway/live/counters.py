"""What live view counts, as plain numbers that only grow."""

import dataclasses


@dataclasses.dataclass(slots=True)
class LiveCounters:
    """viewer_skips: how often viewers were too slow; viewer_dropped: units this cost them.
    Both are added when a viewer leaves."""

    tickets_issued: int = 0
    tickets_refused: int = 0
    sessions_opened: int = 0
    sessions_closed: int = 0
    rights_lost: int = 0
    upstreams_opened: int = 0
    upstream_losses: int = 0
    keyframes_asked: int = 0
    units: int = 0
    viewer_skips: int = 0
    viewer_dropped: int = 0
