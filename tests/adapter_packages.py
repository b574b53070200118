"""Adapter packages as others install them: in an environment of their own, without a network.

PYTEST_DONT_REWRITE: test modules import this before pytest does.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE_S = 90.0


class Environment:
    """A virtual environment that sees the packages of this one, and has some of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.python = folder / "bin" / "python"
        self._run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        ours = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (folder / "lib" / version / "site-packages" / "outer.pth").write_text(ours)

    def install(self, package: Path) -> None:
        """As `pip install -e` does, with what is there already."""
        alone = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
        pip = (sys.executable, "-m", "pip", "--python", str(self.python))
        self._run(*pip, "install", "-q", *alone, "-e", str(package))

    def run(self, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
        """`python` of this environment, to the end."""
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=cwd,
            env=surroundings(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    @staticmethod
    def _run(*command: str) -> None:
        done = subprocess.run(
            command, env=surroundings(), capture_output=True, text=True, timeout=PATIENCE_S
        )
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)


def surroundings(**settings: str) -> dict[str, str]:
    """Environment variables: none of this run's own settings; this source tree, where the gateway
    itself is not installed, and the programs that lie beside this Python."""
    ours = ("PYTEST", "HUTONG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    programs = f"{sysconfig.get_path('scripts')}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "PYTHONPATH": str(ROOT), "PATH": programs, **settings}
