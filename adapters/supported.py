"""Writes SUPPORTED.md: which kinds there are, what they can do, and what shows it.

``python -m adapters.supported`` in the source tree; with ``--check`` it writes nothing, and its
exit code is 1 when the file is out of date. Nothing is run: that what stands in the file is so is
what the contract suites and the cases themselves test.
"""

import ast
import dataclasses
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from adapters import testing, testing_voice
from adapters.base import SEAM_VERSION, Adapter, Granting
from adapters.catalog import BUILT_IN, CONTRACTS, ENTRY_POINTS, Kind
from adapters.checking import checks_of

FILE = "SUPPORTED.md"
ORIGINS = ("captured", "published", "made")
SUITES = {
    "AdapterContract": testing.AdapterContract,
    "ListeningContract": testing.ListeningContract,
    "RadioContract": testing.RadioContract,
    "VoiceContract": testing_voice.VoiceContract,
}
HEAD = (
    "# What is supported\n\n"
    "`python -m adapters.supported` writes this file from the catalogue of adapters, the contract"
    " suites in `tests/contract/` and the cases in `tests/cases/`; a test fails when it is out of"
    f" date. Version {SEAM_VERSION} of the seam.\n\n"
    "A **contract** is the same list of checks for every kind, against a simulated other side:"
    " that cancelling leaves nothing behind, that a wrong password is told apart from a dead"
    " device, that garbage is survived, that what is declared works. A **case** is something that"
    " a device sent and what is made of it: *captured* from a device, *published* by its maker or"
    " in a standard, or *made* by us after a description.\n"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Suite:
    """One contract that a kind keeps. about: which two sides, in a sentence."""

    about: str
    checks: int


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    name: str
    origin: str
    about: str


def supported(root: Path) -> str:
    """The text of the file. root: of the source tree."""
    suites = list(_suites(root / "tests" / "contract"))
    known = [
        (kind, [suite for adapter, suite in suites if adapter == _class(kind)], _cases(root, kind))
        for kind in BUILT_IN
    ]
    parts = [HEAD, *_overview(known)]
    for kind, kept, cases in known:
        parts += _section(kind, kept, cases)
    return "\n".join([*parts, *_packages(root)]) + "\n"


def _class(kind: Kind) -> str:
    return kind.target.partition(":")[2]


def _overview(known: Sequence[tuple[Kind, list[Suite], list[Case]]]) -> Iterator[str]:
    yield "| kind | serves | can | checks of the contract | cases |"
    yield "|---|---|---|---|---|"
    for kind, kept, cases in known:
        checks = " + ".join(str(suite.checks) for suite in kept) or "none"
        cells = (f"[{kind.name}](#{kind.name})", kind.serves, _can(kind), checks, _counts(cases))
        yield _row(cells)
    yield ""


def _section(kind: Kind, kept: Iterable[Suite], cases: Sequence[Case]) -> Iterator[str]:
    yield f"## {kind.name}\n"
    yield from (f"- {sentence}" for sentence in _traits(kind.load()))
    yield from (f"- {suite.about} {suite.checks} checks." for suite in kept)
    yield ""
    if cases:
        yield "| case | origin | what it shows |"
        yield "|---|---|---|"
        yield from (_row((case.name, case.origin, case.about)) for case in cases)
        yield ""


def _can(kind: Kind) -> str:
    return ", ".join(sorted(kind.load().capabilities)) or "listen"


def _counts(cases: Sequence[Case]) -> str:
    count = Counter(case.origin for case in cases)
    return ", ".join(f"{count[origin]} {origin}" for origin in ORIGINS if count[origin]) or "none"


def _traits(adapter: type[Adapter]) -> Iterator[str]:
    """What a radio system is to the bridge."""
    traits = adapter.traits
    if traits is None:
        return
    if traits.receive_only:
        yield "It can only be heard."
    else:
        asks = traits.granting is Granting.ASKS
        yield f"It can be keyed; the floor is {'asked for' if asks else 'granted by itself'}."
    if traits.can_revoke:
        yield "A talk of its own can be ended from outside."
    if traits.advisory:
        yield "It is told late that a talk is over, and so never holds the floor against others."
    if traits.voice:
        yield f"Voice passes both ways, as {', '.join(f'`{codec}`' for codec in traits.voice)}."


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _suites(folder: Path) -> Iterator[tuple[str, Suite]]:
    """The name of the adapter's class, and the suite, for each in a folder of test modules."""
    for file in sorted(folder.glob("test_*.py")):
        module = ast.parse(file.read_text("utf-8"))
        classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
        adapters = [name for each in classes for name in _assigned(each, "adapter")]
        for each in classes:
            bases = [base.id for base in each.bases if isinstance(base, ast.Name)]
            suite = next((SUITES[base] for base in bases if base in SUITES), None)
            if suite is None or not each.name.startswith("Test") or not adapters:
                continue
            about = ast.get_docstring(each) or ast.get_docstring(module) or each.name
            own = [node.name for node in each.body if isinstance(node, ast.FunctionDef)]
            names = {*checks_of(suite), *(name for name in own if name.startswith("test_"))}
            yield adapters[0], Suite(" ".join(about.partition("\n\n")[0].split()), len(names))


def _assigned(node: ast.ClassDef, field: str) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Name):
            names = [target.id for target in each.targets if isinstance(target, ast.Name)]
            if field in names:
                yield each.value.id


def _cases(root: Path, kind: Kind) -> list[Case]:
    found = []
    for file in sorted((root / "tests" / "cases" / kind.name).glob("*/config.toml")):
        config = tomllib.loads(file.read_text("utf-8"))
        found.append(Case(file.parent.name, config["origin"], config["about"]))
    return sorted(found, key=lambda case: (ORIGINS.index(case.origin), case.name))


def _packages(root: Path) -> Iterator[str]:
    """The examples of packages by others; the tests install each and check it."""
    yield "## Packages of their own\n"
    yield "Kinds that others add; `hutong adapter check KIND` runs their contract. An example:\n"
    yield "| kind | package | adapter | contract |"
    yield "|---|---|---|---|"
    for file in sorted((root / "docs" / "examples").glob("*/pyproject.toml")):
        points = tomllib.loads(file.read_text("utf-8"))["project"]["entry-points"]
        for kind, target in points.get(ENTRY_POINTS, {}).items():
            folder = file.parent.relative_to(root).as_posix()
            contract = points.get(CONTRACTS, {}).get(kind, "none")
            yield _row((kind, f"[{file.parent.name}]({folder}/)", f"`{target}`", f"`{contract}`"))


def main(arguments: Sequence[str]) -> int:
    root = Path(__file__).parents[1]
    text, file = supported(root), root / FILE
    if list(arguments) == ["--check"]:
        if file.exists() and file.read_text("utf-8") == text:
            return 0
        sys.stderr.write(f"{FILE} is out of date: run python -m adapters.supported\n")
        return 1
    if arguments:
        sys.stderr.write("python -m adapters.supported [--check]\n")
        return 2
    file.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
