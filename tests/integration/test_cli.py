"""The command line as people meet it: one clear sentence, the right exit code, nothing hung."""

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.message import Message
from ipaddress import ip_address
from pathlib import Path

import pytest
from brokers import Embedded
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from demo import children_of

from gateway import cli

PATIENCE_S = 60.0
ENDS_WITHIN_S = 6.0
"""Three seconds are promised; the tests' machine may be busy."""


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUTONG_")}
    return {**kept, "HUTONG_DATA_DIR": str(data_dir), "HUTONG_HTTP_PORT": "0", **settings}


def hutong(
    folder: Path, *arguments: str, user: int | None = None, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run to the end in folder, with `data` below it as data directory."""
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=folder,
        env=environment(folder / "data", **settings),
        user=user,
        check=False,
    )


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def in_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """As `hutong`, in this process, which saves the imports: for what starts no gateway."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.logs, "configure", lambda *_: None)

    def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        for name in [name for name in os.environ if name.startswith("HUTONG_")]:
            monkeypatch.delenv(name)
        for name, value in {"HUTONG_DATA_DIR": str(tmp_path / "data"), **settings}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["hutong", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        code = int(ended.value.code or 0)
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return run


def sentence(done: "subprocess.CompletedProcess[str]", code: int) -> str:
    """The one line on standard error of a run that failed with this exit code."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


class Running:
    """A `hutong …` that goes on; what it says on standard error is gathered in `said`."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str) -> "re.Match[str]":
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if match := re.search(pattern, self.said):
                return match
            assert self.process.poll() is None, self.said
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} was not said within {PATIENCE_S} s:\n{self.said}")

    def end(self, number: signal.Signals) -> float:
        """Seconds until it ended; no child may be left."""
        children = children_of(self.process.pid)
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        took = time.monotonic() - began
        deadline = time.monotonic() + 2
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            assert time.monotonic() < deadline, "children are left"
            time.sleep(0.02)
        return took


@contextlib.contextmanager
def running(folder: Path, *arguments: str, **settings: str) -> Iterator[Running]:
    log = folder / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            cwd=folder,
            env=environment(folder / "data", **settings),
        )
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- wrong usage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["demo", "--help"],
        ["serve", "--help"],
        ["discover", "--help"],
        ["db", "upgrade", "--help"],
        ["user", "add", "--help"],
        ["doctor", "--help"],
        ["status", "--help"],
    ],
)
def test_help_is_there_for_every_command(in_process: Command, arguments: Sequence[str]) -> None:
    done = in_process(*arguments)
    assert done.returncode == 0
    assert done.stdout.strip()
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuch"],
        ["serve", "--bogus"],
        ["serve", "--role", "king"],
        ["demo", "--cameras", "0"],
        ["demo", "--port", "abc"],
        ["user", "add", "chief"],
        ["user", "add", "chief", "--role", "boss", "--organization", "shenhe"],
        ["discover", "--timeout-s", "0.2", "--subnet", "garbage"],
        ["discover", "--timeout-s", "0.2", "--subnet", "10.0.0.0/8"],
        ["discover", "--timeout-s", "0.2", "--interface", "garbage"],
    ],
)
def test_wrong_usage_exits_with_2(in_process: Command, arguments: Sequence[str]) -> None:
    done = in_process(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_simulators_say_what_is_wrong_with_a_command_or_file(tmp_path: Path) -> None:
    assert "cameras,radios,scenario" in hutong(tmp_path, "simulate", "--help").stdout
    told = sentence(hutong(tmp_path, "simulate", "scenario", "nosuchfile"), 2)
    assert told == "nosuchfile: No such file or directory"


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HUTONG_HTTP_PORT": "abc"}, "HUTONG_HTTP_PORT: must be a valid integer"),
        ({"HUTONG_LOG_FORMAT": "xml"}, "HUTONG_LOG_FORMAT: must be 'console' or 'json'"),
        ({"HUTONG_MQTT_URL": "garbage"}, "HUTONG_MQTT_URL must look like mqtt://host:1883"),
        ({"HUTONG_MQTT_URL": "mqtt://u:geheim@h:x"}, "HUTONG_MQTT_URL has a port that is not"),
        ({"HUTONG_MQTT_PREFIX": "A b"}, "HUTONG_MQTT_PREFIX: must be words of"),
        ({"HUTONG_TRUSTED_PROXIES": "here"}, "HUTONG_TRUSTED_PROXIES: 'here' is neither"),
        ({"HUTONG_PUBLIC_URL": "here"}, "HUTONG_PUBLIC_URL: must look like https://"),
        ({"HUTONG_HTTP_HOST": "0.0.0.0"}, "HUTONG_HTTP_HOST 0.0.0.0 is not loopback: set HUT"),
        ({"HUTONG_TLS_KEY": "key.pem"}, "HUTONG_TLS_CERTIFICATE and HUTONG_TLS_KEY are only of"),
    ],
)
def test_a_setting_that_cannot_work_is_named(
    in_process: Command, settings: dict[str, str], said: str
) -> None:
    told = sentence(in_process("serve", **settings), 2)
    assert said in told
    assert "geheim" not in told


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"HUTONG_DATABASE_URL": "postgresql://u:geheim@h:x/n"},
            "HUTONG_DATABASE_URL: the database URL cannot be read",
        ),
        ({"HUTONG_DATABASE_URL": "mysql://u:geheim@h/n"}, "only sqlite and postgresql"),
        ({"HUTONG_SECRET_KEY": "geheim"}, "HUTONG_SECRET_KEY must be 32 bytes in base64"),
    ],
)
def test_a_url_or_key_that_cannot_work_is_named(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    told = sentence(hutong(tmp_path, "serve", **settings), 2)
    assert said in told
    assert "geheim" not in told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"http_port = [", "hutong.toml is not valid TOML"),
        (b"\xff\xfe", "hutong.toml is not valid TOML"),
        (b"http_prot = 8080", "hutong.toml has a setting 'http_prot' that there is not"),
        (b"mqtt_url = 5", "mqtt_url in hutong.toml: must be a valid string"),
    ],
)
def test_a_broken_settings_file_is_told(
    in_process: Command, tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "hutong.toml").write_bytes(content)
    assert said in sentence(in_process("serve"), 2)


def test_settings_are_shown_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "hutong.toml").write_text('log_format = "json"')
    settings = {
        "HUTONG_DATABASE_URL": "postgresql://u:geheim@h/n",
        "HUTONG_MQTT_URL": "mqtt://u:geheim@h",
        "HUTONG_SECRET_KEY": "geheim",
        "HUTONG_NO_SUCH_SETTING": "1",
    }
    done = hutong(tmp_path, "serve", "--show-settings", **settings)
    assert done.returncode == 0, done.stderr
    assert "geheim" not in done.stdout
    assert "HUTONG_MQTT_URL=mqtt://u:***@h" in done.stdout.splitlines()
    assert "HUTONG_LOG_FORMAT=json" in done.stdout.splitlines()
    assert not (tmp_path / "data").exists()


# --- what must be there for a start ---------------------------------------------------------------


@pytest.mark.parametrize("command", [["serve"], ["demo", "--cameras", "1"]])
def test_a_port_in_use(tmp_path: Path, command: Sequence[str]) -> None:
    with silent_server() as port:
        done = hutong(tmp_path, *command, HUTONG_HTTP_PORT=str(port))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = done.stderr.splitlines()[-1]
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in told


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file stands where the directory should")
    told = sentence(hutong(tmp_path, "serve"), 1)
    assert f"the data directory {tmp_path}/data cannot be written" in told
    assert "HUTONG_DATA_DIR" in told


def test_a_data_directory_of_somebody_else(tmp_path: Path) -> None:
    nobody = 65534
    if os.getuid() != 0:
        pytest.skip("only root can play another user")
    try:
        command = [sys.executable, "-c", "import gateway.cli"]
        readable = subprocess.run(command, user=nobody, capture_output=True, check=False)
    except PermissionError:
        pytest.skip("another user may not run this Python")
    if readable.returncode:
        pytest.skip("another user may not read these sources")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    told = sentence(hutong(tmp_path, "serve", user=nobody), 1)
    assert "cannot be written (Permission denied)" in told


# --- what may be away -----------------------------------------------------------------------------


def test_a_database_that_refuses_is_told_and_does_not_end_the_gateway(tmp_path: Path) -> None:
    url = f"postgresql://u:geheim@127.0.0.1:{closed_port()}/n"
    with running(tmp_path, "serve", HUTONG_DATABASE_URL=url) as gateway:
        gateway.wait_for(r"database is away.*Connection refused")
        gateway.wait_for(r"gateway starts")
        assert gateway.end(signal.SIGTERM) < ENDS_WITHIN_S
        assert gateway.process.returncode == 0
        assert "Traceback" not in gateway.said
        assert "geheim" not in gateway.said


def test_a_database_that_does_not_answer_holds_nothing_up(tmp_path: Path) -> None:
    with silent_server() as port:
        url = f"postgresql://u:geheim@127.0.0.1:{port}/n"
        with running(tmp_path, "serve", HUTONG_DATABASE_URL=url) as gateway:
            gateway.wait_for(r"database is away.*timeout expired")
            gateway.wait_for(r"gateway starts")
            assert gateway.end(signal.SIGTERM) < ENDS_WITHIN_S
            assert gateway.process.returncode == 0
            assert "Traceback" not in gateway.said


def test_a_broker_that_refuses_is_told_and_does_not_end_the_gateway(tmp_path: Path) -> None:
    url = f"mqtt://u:geheim@127.0.0.1:{closed_port()}"
    with running(tmp_path, "serve", HUTONG_MQTT_URL=url) as gateway:
        gateway.wait_for(r"broker is away.*Connection refused.*check HUTONG_MQTT_URL")
        assert gateway.end(signal.SIGINT) < ENDS_WITHIN_S
        assert gateway.process.returncode == 0
        assert gateway.said.count("broker is away") == 1
        assert "geheim" not in gateway.said


def test_a_broker_that_does_not_answer_holds_nothing_up(tmp_path: Path) -> None:
    with (
        silent_server() as port,
        running(tmp_path, "serve", HUTONG_MQTT_URL=f"mqtt://127.0.0.1:{port}") as gateway,
    ):
        gateway.wait_for(r"broker is away.*no answer within 5 s")
        assert gateway.end(signal.SIGTERM) < ENDS_WITHIN_S
        assert gateway.process.returncode == 0


async def test_a_wrong_broker_password_is_told(tmp_path: Path) -> None:
    async with Embedded(tmp_path / "broker") as broker:
        url = f"mqtt://gateway:geheim@127.0.0.1:{broker.address.port}"

        def try_it() -> None:
            with running(tmp_path, "serve", HUTONG_MQTT_URL=url) as gateway:
                gateway.wait_for(r"broker is away.*refused our name or password")
                assert gateway.end(signal.SIGTERM) < ENDS_WITHIN_S
            done = hutong(tmp_path, "doctor", HUTONG_MQTT_URL=url)
            assert done.returncode == 1
            assert "FAILED  broker: " in done.stdout
            assert "refused our name or password" in done.stdout
            assert "geheim" not in done.stdout

        await asyncio.to_thread(try_it)


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("role", ["all", "bridge"])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals, role: str) -> None:
    with running(tmp_path, "serve", "--role", role) as gateway:
        gateway.wait_for(r"this node bridges")
        assert children_of(gateway.process.pid), "the embedded broker"
        assert gateway.end(number) < ENDS_WITHIN_S
        assert gateway.process.returncode == 0
        assert "Traceback" not in gateway.said


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def until_it_answers(request: urllib.request.Request, trusted: ssl.SSLContext) -> Message:
    """The headers of the answer, once it listens."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S, context=trusted) as answer:
                headers: Message = answer.headers
                return headers
        except urllib.error.URLError as error:
            refused = isinstance(error.reason, ConnectionRefusedError)
            if not refused or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def test_https_with_a_secure_cookie(
    in_process: Command, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    add_admin(in_process)
    settings = {
        "HUTONG_TLS_CERTIFICATE": str(certificate[0]),
        "HUTONG_TLS_KEY": str(certificate[1]),
    }
    with running(tmp_path, "serve", **settings) as gateway:
        url = gateway.wait_for(r"gateway starts.*url=(https://127\.0\.0\.1:\d+)").group(1)
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        request = urllib.request.Request(
            f"{url}/api/v1/auth/login",
            json.dumps({"name": "chief", "password": PASSWORD}).encode(),
            {"Content-Type": "application/json"},
        )
        cookie = until_it_answers(request, trusted)["set-cookie"]
        assert "Secure" in cookie
        assert "HttpOnly" in cookie
        assert gateway.end(signal.SIGTERM) < ENDS_WITHIN_S


def test_a_certificate_that_is_none_is_told(
    in_process: Command, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    settings = {
        "HUTONG_TLS_CERTIFICATE": str(certificate[1]),
        "HUTONG_TLS_KEY": str(certificate[1]),
    }
    told = sentence(in_process("serve", **settings), 2)
    assert f"the TLS certificate {certificate[1]} and key" in told
    settings["HUTONG_TLS_CERTIFICATE"] = str(tmp_path / "nosuch.pem")
    assert "nosuch.pem does not exist" in sentence(in_process("serve", **settings), 2)


# --- users, database, doctor ----------------------------------------------------------------------

PASSWORD = "long enough for anybody"
CHIEF = ("user", "add", "chief", "--role", "admin", "--organization", "shenhe")


def add_admin(run: Command) -> None:
    done = run(*CHIEF, "--district", "沈河区", HUTONG_USER_PASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr


def test_users_are_added_or_refused_in_one_sentence(in_process: Command) -> None:
    def add(password: str = PASSWORD) -> str:
        return sentence(in_process(*CHIEF, HUTONG_USER_PASSWORD=password), 1)

    assert add() == ("hutong: there is no organization 'shenhe'; --district NAME makes a first one")
    add_admin(in_process)
    assert add() == "hutong: there is a user 'chief' already"
    assert "password: must have 8 to 256 characters" in add(password="short")
    asked = sentence(in_process(*CHIEF), 2)
    assert asked.startswith("hutong: set HUTONG_USER_PASSWORD")


def test_the_database_is_upgraded_and_the_doctor_is_content(
    in_process: Command, tmp_path: Path
) -> None:
    for _ in range(2):
        done = in_process("db", "upgrade")
        assert done.returncode == 0, done.stderr
        assert "is up to date" in done.stdout
    done = in_process("doctor")
    assert done.returncode == 0, done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 7
    assert not (tmp_path / "data" / "doctor").exists()


def test_the_status_of_an_embedded_broker_is_asked_for_elsewhere(in_process: Command) -> None:
    said = sentence(in_process("status"), 2)
    assert "HUTONG_MQTT_URL is not set" in said
    assert "/metrics" in said


def test_the_status_of_a_broker_that_is_not_there_is_one_sentence(in_process: Command) -> None:
    url = f"mqtt://gateway:geheim@127.0.0.1:{closed_port()}"
    said = sentence(in_process("status", HUTONG_MQTT_URL=url), 1)
    assert "geheim" not in said


def test_the_doctor_says_what_is_wrong(in_process: Command, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file stands where the directory should")
    url = f"postgresql://u:geheim@127.0.0.1:{closed_port()}/n"
    done = in_process("doctor", HUTONG_DATABASE_URL=url)
    assert sentence(done, 1) == "hutong: 2 of the checks failed"
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert "data directory" in failed[0]
    assert "Connection refused" in failed[1]
    assert "geheim" not in done.stdout


# --- discovery ------------------------------------------------------------------------------------


def test_cameras_are_discovered_and_registered_in_part(in_process: Command, tmp_path: Path) -> None:
    """Two cameras with the password that is given; a third one knows another."""
    scenario = {
        "cameras": {
            "discovery": {"interfaces": ["127.0.0.1"]},
            "onvif": [
                {
                    "name": name,
                    "username": "admin",
                    "password": password,
                    "serial": f"{os.getpid()}-{name}",
                }
                for name, password in (("one", PASSWORD), ("two", PASSWORD), ("odd", "other"))
            ],
        }
    }
    (tmp_path / "scenario.yaml").write_text(json.dumps(scenario))  # JSON is YAML
    add_admin(in_process)
    discover = ("discover", "--interface", "127.0.0.1", "--timeout-s", "1", "--register")
    with running(tmp_path, "simulate", "scenario", "scenario.yaml") as simulators:
        assert simulators.process.stdout is not None
        endpoints = json.loads(simulators.process.stdout.readline())["onvif"]
        elsewhere = in_process(*discover, "nosuch", HUTONG_DEVICE_PASSWORD=PASSWORD)
        assert "there is no organization 'nosuch'" in sentence(elsewhere, 1)
        done = in_process(
            *discover, "shenhe", "--username", "admin", HUTONG_DEVICE_PASSWORD=PASSWORD
        )
        # Cameras of others on this machine may be found and refused, too.
        told = sentence(done, 3)
        assert re.fullmatch(r"hutong: \d+ of \d+ devices were not registered", told)
        results = dict(
            line.split(": ", 1)
            for line in done.stdout.splitlines()
            if line.startswith("http") and ": " in line
        )
        assert [results[each].partition(",")[0] for each in endpoints[:2]] == ["registered"] * 2
        assert results[endpoints[2]].startswith("refused: it refused the user name or password")
        assert simulators.end(signal.SIGTERM) < ENDS_WITHIN_S
