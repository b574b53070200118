"""When is a member a loop? When what it says follows our keys like an echo, time after time. Pure.

Three talks in a row that begin the same time after a key of ours and are as long as that key was.
People answer too, but not three times to the tenth of a second.
"""

from collections.abc import Sequence

from gateway.interop.model import Follow

IN_A_ROW = 3
SAME_DELAY_S = 0.12
SAME_LENGTH_S = 0.3
LONGEST_DELAY_S = 7.0
"""A recorder's feed comes 6 s late."""
LEAST_LENGTH_S = 0.5
"""Who only tips the key does so regularly, too."""
KEPT_SPANS = 4


def note(
    follows: tuple[Follow, ...],
    began_s: float,
    ended_s: float,
    spans: Sequence[tuple[float, float]],
) -> tuple[Follow, ...]:
    """What a member did so far, with one more talk of its own; empty when that was no echo.

    spans: when we keyed, oldest first, each (from, to) in seconds.
    """
    length_s = ended_s - began_s
    if length_s < LEAST_LENGTH_S:
        return follows
    before = [span for span in spans if 0 < began_s - span[0] <= LONGEST_DELAY_S]
    echoed = next(
        (s for s in reversed(before) if abs(s[1] - s[0] - length_s) <= SAME_LENGTH_S), None
    )
    if echoed is None:
        return ()
    fresh = Follow(delay_s=began_s - echoed[0], length_s=length_s)
    if follows and abs(follows[0].delay_s - fresh.delay_s) > SAME_DELAY_S:
        return (fresh,)
    return (*follows, fresh)[-IN_A_ROW:]


def loops(follows: Sequence[Follow]) -> bool:
    """Is this member a loop?"""
    return len(follows) >= IN_A_ROW
