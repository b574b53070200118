"""What `hutong adapter new` and `hutong adapter check` do."""

import keyword
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from adapters.catalog import BUILT_IN

TEMPLATE = Path(__file__).parent / "adapter_template"
_SUFFIX = ".in"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MAX_NAME = 32


class WrongName(Exception):
    """The name cannot be that of a new kind."""


class CannotMake(Exception):
    """The place is taken, or cannot be written."""


def make_package(name: str, directory: Path | None = None) -> tuple[Path, list[Path]]:
    """Write an adapter package for a new kind; the folder, and the files in it.

    directory: where; ``hutong-NAME`` in the current one when left out. It must be new or empty.
    Raises: WrongName, CannotMake.
    """
    _check_name(name)
    folder = directory or Path(f"hutong-{name.replace('_', '-')}")
    files = dict(_filled(name))
    try:
        if folder.exists() and any(folder.iterdir()):
            raise CannotMake(f"{folder} is there already; name another with --directory")
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, "utf-8")
    except OSError as error:
        raise CannotMake(f"{folder} cannot be written: {error.strerror}") from error
    return folder, [folder / path for path in files]


def check_package(name: str) -> int:
    """Run the contract of an installed package in a process of its own; its exit code."""
    command = [sys.executable, "-m", "adapters.checking", name]
    return subprocess.run(command, check=False).returncode


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or len(name) > _MAX_NAME:
        raise WrongName(
            f"{name!r} cannot be the name of a kind: lower-case letters and digits, words joined by"
            f" _, a letter first, at most {_MAX_NAME}"
        )
    if name in {kind.name for kind in BUILT_IN}:
        raise WrongName(f"{name!r} comes with the gateway; another kind needs another name")


def _filled(name: str) -> Iterator[tuple[Path, str]]:
    """Every file of the template, for this name. It is written for a kind called ``acme``."""
    words = {
        "@HUTONG@": version("hutong"),
        "hutong-acme": f"hutong-{name.replace('_', '-')}",
        "Acme": "".join(word.capitalize() for word in name.split("_")),
        "acme": name,
    }
    for file in sorted(TEMPLATE.rglob(f"*{_SUFFIX}")):
        path = str(file.relative_to(TEMPLATE)).removesuffix(_SUFFIX)
        text = file.read_text("utf-8")
        for word, ours in words.items():
            path, text = path.replace(word, ours), text.replace(word, ours)
        yield Path(path), text
