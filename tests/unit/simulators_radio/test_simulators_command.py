"""`python -m simulators` as its own process."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from simulators.__main__ import main

COMMAND = [sys.executable, "-W", "error::ResourceWarning", "-m", "simulators"]

FILE = """
homebrew:
  master: {port: 1}
  repeaters: [{id: 460011, passphrase: x, radios: [{id: 1001}]}]
zello: {accounts: {gateway: g}, channels: [Duty], phones: [{name: wang}]}
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ready(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    line = json.loads(process.stdout.readline())
    assert isinstance(line, dict)
    return line


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "district.yaml"
    path.write_text(FILE)
    return str(path)


def test_scenario_ends_with_its_parent(file: str) -> None:
    process = start("scenario", file, "--exit-with-stdin")
    line = ready(process)
    assert set(line) == {"onvif", "rtsp", "homebrew", "zello", "control"}
    assert line["homebrew"] == [{"repeater": 460011, "radios": [1001]}]
    with urllib.request.urlopen(f"{line['control']}/state", timeout=5) as answer:
        state = json.load(answer)
    assert state["repeaters"][0]["state"] in ("waiting", "signing_in")
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    code, out, err = finish(process)
    assert (code, out) == (0, ""), err
    assert "nobody listens at 127.0.0.1:1" in err
    assert "Traceback" not in err


def test_closed_input_from_the_start(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(["scenario", file, "--exit-with-stdin"]) == 0


def test_radios_and_cameras_from_the_command_line(tmp_path: Path) -> None:
    radios = start(
        *("radios", "--master", "127.0.0.1:1", "--repeaters", "2", "--radios", "1"),
        *("--account", "gw:secret", "--channel", "Duty", "--phone", "wang"),
    )
    cameras = start(
        *("cameras", "--count", "1", "--rtsp", "1", "--discovery-port", "-1"),
        *("--clip-cache", os.fspath(tmp_path)),
    )
    line = ready(radios)
    assert line["homebrew"] == [
        {"repeater": 460001, "radios": [4600001]},
        {"repeater": 460002, "radios": [4600002]},
    ]
    assert len(line["zello"]) == 1  # type: ignore[arg-type]
    line = ready(cameras)
    assert len(line["onvif"]) == len(line["rtsp"]) == 1  # type: ignore[arg-type]
    for process, number in ((radios, signal.SIGINT), (cameras, signal.SIGTERM)):
        process.send_signal(number)
        code, out, err = finish(process)
        assert (code, out) == (0, ""), err
        assert "Traceback" not in err


def test_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("zelo: 1\n")
    assert main(["scenario", str(bad)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{bad}:1:1: zelo: ")
    assert main(["radios", "--master", "nowhere"]) == 2
    assert "homebrew.master.port" in capsys.readouterr().err


def test_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["cameras", "--count", "many"], [], ["dance"], ["scenario"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert "usage: simulators" in capsys.readouterr().err


def test_port_in_use(file: str, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["scenario", file, "--control-port", port]) == 1
    assert (
        f"cannot start: [Errno 98] error while attempting to bind on address ('127.0.0.1', {port})"
        in caplog.text
    )
