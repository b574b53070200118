"""Named devices as they are met in the field: each is what a polite camera's spec is changed by.

The names stand in scenario files (``persona:``) and on the command line (``--persona``).
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from simulators.onvif_camera.spec import CameraSpec

Changes = Mapping[str, Any]


def _quirks(**quirks: Any) -> Changes:
    return MappingProxyType({"quirks": MappingProxyType(quirks)})


PERSONAS: Final[Mapping[str, Changes]] = MappingProxyType(
    {
        "clock-off": _quirks(clock_offset_s=-5 * 3_600.0, created_window_s=5.0),
        "digest-only": _quirks(authentication="digest"),
        "digest-sha256": _quirks(authentication="digest", digest_algorithm="SHA-256"),
        "digest-rfc2069": _quirks(authentication="digest", digest_qop=False),
        "token-only": _quirks(authentication="token"),
        "basic-only": _quirks(authentication="basic"),
        "wrong-xaddr": _quirks(announced_host="192.168.1.108:8899"),
        "loopback-xaddr": _quirks(announced_host="127.0.0.1"),
        "no-media2": _quirks(media2=False),
        "no-get-services": _quirks(get_services=False),
        "foreign-namespaces": _quirks(foreign_namespaces=True),
        "snapshot-401": _quirks(snapshot_refused=True),
        "locks-after-three": _quirks(locks_after=3),
        "slow": _quirks(delay_ms=400.0),
        "half-open": _quirks(dead_after=1),
        "garbage": _quirks(garbage=True),
        "silent": _quirks(silent=True),
        "sudden-reboot": _quirks(reboots_after=3),
        "h265": MappingProxyType({"codec": "h265"}),
        "nvr16": MappingProxyType({"sources": 16, "model": "Recorder 16"}),
        "tls": MappingProxyType({"tls": True}),
        "pullpoint-none": _quirks(events=False),
        "pullpoint-two-slots": _quirks(max_subscriptions=2),
        "pullpoint-expires": _quirks(pull_point_expires_s=15.0),
        "pullpoint-no-renew": _quirks(renew_refused=True, pull_keeps_alive=False),
        "pullpoint-at-once": _quirks(pull_at_once=True),
        "pullpoint-short-polls": _quirks(pull_breaks_s=5.0),
        "pullpoint-foreign-topics": _quirks(topic_prefix="acme"),
    }
)
"""By name: fields of `CameraSpec`, and under ``quirks`` those of `Quirks`."""


def with_persona(spec: CameraSpec, *names: str) -> CameraSpec:
    """A camera turned into all the named ones at once. Raises: KeyError for an unknown name."""
    for name in names:
        changes = dict(PERSONAS[name])
        if quirks := changes.pop("quirks", None):
            changes["quirks"] = dataclasses.replace(spec.quirks, **quirks)
        spec = dataclasses.replace(spec, **changes)
    return spec


def merged(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a camera in a file, its ``persona`` (a name or a list of them) worked in.

    What the file itself says of a field counts. Raises: ValueError for an unknown name.
    """
    fields = dict(given)
    named = fields.pop("persona", ())
    names = named if isinstance(named, list | tuple) else [named]
    changed: dict[str, Any] = {}
    quirks: dict[str, Any] = {}
    for name in names:
        if not isinstance(name, str) or name not in PERSONAS:
            raise ValueError(f"there is no persona {name!r}; there are {', '.join(PERSONAS)}")
        changes = dict(PERSONAS[name])
        quirks |= changes.pop("quirks", {})
        changed |= changes
    own = fields.get("quirks", {})
    if quirks and isinstance(own, Mapping):
        changed["quirks"] = fields["quirks"] = {**quirks, **own}
    return {**changed, **fields}
