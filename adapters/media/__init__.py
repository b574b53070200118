"""Reading media: one RTSP reader for all adapters, its fall-back, and the fMP4 writer.

`open_stream(source)` is all that most callers need.
"""

from adapters.media.limits import RtspLimits
from adapters.media.slots import ThreadSlots
from adapters.media.stream import MediaStream, open_stream

__all__ = ["MediaStream", "RtspLimits", "ThreadSlots", "open_stream"]
