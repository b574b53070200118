"""From what is registered to an adapter: settings checked by the kind's own model."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from adapters import catalog
from adapters.base import Adapter
from adapters.errors import InvalidSettings

RUNS_AT = "runs_at"
"""The setting of any radio system that says who runs it: ``gateway``, or ``site``."""


def settings_model(kind: str) -> type[BaseModel]:
    """The settings model of an adapter kind. Raises: InvalidSettings for an unknown kind."""
    model: type[BaseModel] = catalog.load(kind).Settings
    return model


def checked(kind: str, settings: Mapping[str, Any]) -> BaseModel:
    """Raises: InvalidSettings naming each field that is wrong; values are not repeated."""
    try:
        return settings_model(kind).model_validate(dict(settings))
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'settings'}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        ]
        raise InvalidSettings("; ".join(faults), device=kind) from None


def secret_fields(kind: str) -> frozenset[str]:
    """Settings that hold a secret anywhere inside: those never go to a list or a file in clear."""
    schema = settings_model(kind).model_json_schema()
    return frozenset(
        name for name, field in schema.get("properties", {}).items() if _holds_secret(field)
    )


def _holds_secret(field: Any) -> bool:
    if isinstance(field, dict):
        return bool(field.get("writeOnly")) or any(_holds_secret(v) for v in field.values())
    return isinstance(field, list) and any(_holds_secret(each) for each in field)


def split_secrets(kind: str, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what may be shown, what may not)."""
    hidden = secret_fields(kind)
    return (
        {name: value for name, value in settings.items() if name not in hidden},
        {name: value for name, value in settings.items() if name in hidden},
    )


def video_adapter(
    kind: str, endpoint: str, username: str, password: str, settings: Mapping[str, Any]
) -> Adapter:
    """Raises: InvalidSettings."""
    given = {**settings, "endpoint": endpoint, "username": username, "password": password}
    return catalog.load(kind)(checked(kind, given))


def radio_adapter(kind: str, settings: Mapping[str, Any], channels: Sequence[str]) -> Adapter:
    """settings: shown and secret ones together, and `runs_at`, which is ours. Raises:
    InvalidSettings."""
    runs_at_site(settings, kind)
    own = {name: value for name, value in settings.items() if name != RUNS_AT}
    return catalog.load(kind)(checked(kind, own), channels)


def runs_at_site(settings: Mapping[str, Any], kind: str = "") -> bool:
    """Is a system run by `hutong agent` at its site? Raises: InvalidSettings when a kind is given
    and the setting is none."""
    place = settings.get(RUNS_AT, "gateway")
    if kind and place not in ("gateway", "site"):
        raise InvalidSettings(f"{RUNS_AT}: must be gateway or site", device=kind)
    return bool(place == "site")
