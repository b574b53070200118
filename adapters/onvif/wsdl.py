"""The WSDLs that onvif-zeep carries, each parsed once per process and shared by all devices.

onvif-zeep's own `ONVIFCamera` parses them again for every device (272 ms of CPU and 10 MB), and
its constructor talks to the device and opens a PullPoint subscription that it never closes. So
only its documents, its service table and its token are used, and nothing here touches a network.
"""

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zeep import Settings
from zeep.transports import Transport
from zeep.wsdl import Document


@contextlib.contextmanager
def _logging_untouched() -> Iterator[None]:
    """onvif-zeep calls `logging.basicConfig` and silences a logger of zeep when imported."""
    root, zeep_client = logging.getLogger(), logging.getLogger("zeep.client")
    handlers, level, zeep_level = root.handlers[:], root.level, zeep_client.level
    try:
        yield
    finally:
        for handler in root.handlers[:]:
            if handler not in handlers:
                root.removeHandler(handler)
                handler.close()
        root.setLevel(level)
        zeep_client.setLevel(zeep_level)


with _logging_untouched():
    import onvif
    from onvif.definition import SERVICES

USED = ("devicemgmt", "media", "ptz")
"""The services we call: those of onvif-zeep's table that are parsed."""


class _Parsed:
    """One parse, however many threads ask at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bindings: dict[str, Any] = {}

    @property
    def there(self) -> bool:
        return bool(self._bindings)

    def bindings(self) -> dict[str, Any]:
        if self._bindings:
            return self._bindings
        with self._lock:
            if not self._bindings:
                self._bindings = {name: self._binding(name) for name in USED}
            return self._bindings

    def _binding(self, name: str) -> Any:
        entry = SERVICES[name]
        path = Path(onvif.__file__).parent.parent / "wsdl" / entry["wsdl"]
        # Devices leave out elements that the schema demands, and put others in another order.
        settings = Settings(
            strict=False, xsd_ignore_sequence_order=True, forbid_dtd=True, forbid_external=True
        )
        transport: Any = Transport()  # type: ignore[no-untyped-call]
        document = Document(str(path), transport, settings=settings)
        return document.bindings[f"{{{entry['ns']}}}{entry['binding']}"]


@functools.cache
def _parsed() -> _Parsed:
    return _Parsed()


async def loaded() -> None:
    """Return when the WSDLs are parsed: about 0.3 s, once per process, in a thread."""
    if not _parsed().there:
        await asyncio.to_thread(load)


def load() -> None:
    """Parse the WSDLs unless that was done."""
    _parsed().bindings()


def operation(service: str, name: str) -> Any:
    """zeep's description of one operation: it builds its request and reads its reply."""
    return _parsed().bindings()[service].get(name)
