"""What can go wrong in the registry.

RegistryError
├── NotFound           final       there is no such object, or it is outside the caller's partition
├── Forbidden          final       the caller sees it but holds no role that allows this
├── Conflict           final       it collides with something else; `other` names it
├── VersionMismatch    final       somebody changed it since it was read
├── Invalid            final       values that cannot be accepted; `reasons` says where and why
├── DatabaseAway       retryable   the database does not answer, or is too busy to
└── DatabaseUnusable   final       a URL, folder or file that cannot work as it is
"""

import dataclasses
from typing import ClassVar


class RegistryError(Exception):
    """Base of all errors of the registry. message: one sentence for a person."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(RegistryError):
    """kind: what was looked for (``point``); reference: the id, path or name it was asked by."""

    def __init__(self, kind: str, reference: str) -> None:
        super().__init__(f"there is no {kind} {reference!r}")
        self.kind = kind
        self.reference = reference


class Forbidden(RegistryError):
    pass


class Conflict(RegistryError):
    """other: id, path or name of what it collides with, empty where that must not be told.
    others: where several do."""

    def __init__(self, message: str, *, other: str = "", others: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.other = other
        self.others = others


class VersionMismatch(RegistryError):
    """expected: the version the caller had read; actual: the one it has now."""

    def __init__(self, kind: str, expected: int, actual: int) -> None:
        super().__init__(
            f"the {kind} was changed meanwhile: you read version {expected}, it is {actual} now"
        )
        self.expected = expected
        self.actual = actual


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why one value is refused. field: its place, such as ``members[0].channel``."""

    field: str
    reason: str


class Invalid(RegistryError):
    """reasons: each refused value with its place; all that were found, not only the first."""

    def __init__(self, *reasons: Reason) -> None:
        super().__init__("; ".join(f"{each.field}: {each.reason}" for each in reasons))
        self.reasons = reasons

    @classmethod
    def at(cls, field: str, reason: str) -> "Invalid":
        return cls(Reason(field=field, reason=reason))


class DatabaseAway(RegistryError):
    """retry_after_s: when another attempt makes sense. outward: what people elsewhere are told,
    who need not know where the database is; the message where there is nothing to hide."""

    retryable = True

    def __init__(self, message: str, *, outward: str = "", retry_after_s: int = 2) -> None:
        super().__init__(message)
        self.outward = outward or message
        self.retry_after_s = retry_after_s


class DatabaseUnusable(RegistryError):
    pass
