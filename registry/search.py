"""Text search, behind one function so that an index can take its place."""

import unicodedata
from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase

from sqlalchemy import Column, ColumnElement, and_, or_

from registry.errors import Invalid

MAX_TERM = 100
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def matching(text: str, columns: Sequence[Column[str]]) -> ColumnElement[bool]:
    """SQL: each word of text stands somewhere in one of the columns, whatever its case.

    text: words apart by blanks, one character or more each.
    Raises: Invalid when it is empty or longer than 100 characters.
    """
    return and_(
        *(
            or_(*(column.icontains(word, autoescape=True) for column in columns))
            for word in words(text)
        )
    )


def words(text: str) -> list[str]:
    """The words of a text that somebody looks for, in Unicode NFC.

    Raises: Invalid when there is none, or it is longer than 100 characters.
    """
    found = unicodedata.normalize("NFC", text).split()
    if not found or len(text) > MAX_TERM:
        raise Invalid.at("q", f"must have 1 to {MAX_TERM} characters")
    return found


def lowered(word: str) -> str:
    """A word in lower case as SQLite's lower() has it, which knows no letters but A to Z."""
    return word.translate(_LOWER)
