"""What bounds live view."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """ticket_s: how long a ticket waits for its use. linger_s: how long an upstream outlives its
    last viewer. max_waiting_units: what a slow viewer may owe before it skips to a keyframe;
    max_tapped_units: the same for what decodes a stream, whose pictures would come late otherwise.
    rights_interval_s: between two looks at a running view's right; rights_answer_s: how long one
    answer is awaited; rights_grace_s: how long the last known right counts without an answer.
    keyframe_after_s: how long the first picture of a camera is awaited before it is asked for one.
    first_retry_s, max_retry_s: wait before an upstream is opened again, doubling in between.
    """

    ticket_s: float = 30.0
    max_tickets: int = 10_000
    max_viewers: int = 2_000
    max_whep_views: int = 100
    max_waiting_units: int = 75
    max_tapped_units: int = 15
    max_group_units: int = 750
    max_group_bytes: int = 32 * 1024 * 1024
    linger_s: float = 10.0
    rights_interval_s: float = 2.0
    rights_answer_s: float = 2.0
    rights_grace_s: float = 60.0
    keyframe_after_s: float = 0.1
    first_retry_s: float = 0.5
    max_retry_s: float = 10.0
    pyav_threads: int = 32
