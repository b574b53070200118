"""xs:duration and xs:dateTime of requests; pure."""

import datetime
import re
from typing import Final

from simulators.onvif_camera.soap import Fault

_DURATION: Final = re.compile(
    r"P(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?"
)


def seconds(value: str, *, default_s: float, now_s: float = 0.0) -> float:
    """A duration, or the time left until a date, in seconds; default_s when empty.

    now_s: the clock that a date is measured against, since 1970.
    Raises: Fault (ter:InvalidArgVal) when it is neither.
    """
    if not value:
        return default_s
    match = _DURATION.fullmatch(value)
    if match is not None and any(match.groups()):
        days, hours, minutes, rest_s = (float(group or 0) for group in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + rest_s
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise Fault("neither a duration nor a time", "ter:InvalidArgVal") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp() - now_s
