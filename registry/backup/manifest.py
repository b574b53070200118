"""What a backup says of itself: `manifest.json`, the last member of the file."""

import msgspec

FORMAT = 1
"""Raised when an older version could not restore what a newer one writes. A new table, column or
step of the schema needs no new format."""
NAME = "manifest.json"
KEY = "secret.key"
PRODUCT = "hutong"
MOST_BYTES = 1 << 20


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A member as it is when unpacked. bytes: its length. sha256: in hex."""

    bytes: int
    sha256: str


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """columns: in the order in which each row has them."""

    columns: list[str]
    rows: int
    stored: Stored


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """revision: the step of the schema that the tables are of."""

    revision: str
    tables: dict[str, Table]


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """check: tells this key from others, and nothing of it. stored: None where it was left out."""

    check: str
    stored: Stored | None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """version: of Hutong. database: the kind it came from. made_at: RFC 3339, UTC. key: None where
    the gateway had none yet."""

    product: str
    format: int
    version: str
    made_at: str
    database: str
    parts: dict[str, Part]
    key: Key | None

    @property
    def rows(self) -> int:
        return sum(table.rows for part in self.parts.values() for table in part.tables.values())

    def members(self) -> dict[str, Stored]:
        """All that must be in the file beside the manifest, by name."""
        found = {
            member(part, name): table.stored
            for part, said in self.parts.items()
            for name, table in said.tables.items()
        }
        if self.key is not None and self.key.stored is not None:
            found[KEY] = self.key.stored
        return found


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What manifests of every format say."""

    product: str
    format: int
    version: str


def member(part: str, table: str) -> str:
    """The name of a table's rows in the file."""
    return f"{part}/{table}.jsonl"
