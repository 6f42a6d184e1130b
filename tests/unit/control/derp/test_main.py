"""`waypost-derp`: settings, clear refusals, and the process itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.ports.randomness import SeededRandomness
from appliance.proto.stun import encode_request, parse_response
from appliance.types.errors import ConfigError, StateError
from control.derp.main import load_key, run, serve
from control.derp.settings import DerpSettings, load_settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_ok__flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "waypost-derp.toml"
    file.write_text('version = 1\nport = 8443\nnames = ["192.0.2.10"]\nstun_port = 0\n')
    settings = load_settings(file, {"port": 9443, "host": None})
    assert settings == DerpSettings(port=9443, names=("192.0.2.10",), stun_port=0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port = 1", "version is missing"),
        ("version = 1\nprot = 1", "prot is no setting"),
        ('version = 1\nport = "x"', "port must be a number"),
        ("version = 1\nport = true", "port must be a number"),
        ("version = 1\nnames = [1]", "names must be a list"),
        ("version = 1\nport = 70000", "70000 is no port"),
        ("version = 1\nport = 1", "names: a self-signed"),
        ('version = 1\ncertificate = "x"', "belong together"),
        ('version = 1\nplain = true\nverify_url = "x"', "is no URL"),
        ("version = 1\nplain = true\nclient_bytes_per_s = -1", "is below 0"),
        ("version = 1\nplain = true\naccepts_per_s = 0", "lets nobody in"),
        ("version = 1\nplain = true\nmax_connections = 0", "lets nobody in"),
        ('version = 1\nplain = true\nmesh_peers = ["a"]', "need a key"),
        ('version = 1\nplain = true\nmesh_key_file = "k"\nmesh_peers = ["a b"]', "names no server"),
        ('version = 1\nplain = true\nmetrics = "9471"', "is no address"),
        ("version = = 1", "line 1"),
    ],
)
def test_fail__settings(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "waypost-derp.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        load_settings(file, {})
    assert caught.value.mend


def test_ok__key_is_made_once_and_for_the_owner(tmp_path: Path) -> None:
    file = tmp_path / "state" / "derp.key"
    made = load_key(file, SeededRandomness(1))
    assert load_key(file, SeededRandomness(2)) == made
    assert file.stat().st_mode & 0o777 == 0o600


def test_fail__damaged_key(tmp_path: Path) -> None:
    file = tmp_path / "derp.key"
    file.write_text("privkey:secret-but-wrong")
    with pytest.raises(StateError, match="holds no DERP key") as caught:
        load_key(file, SeededRandomness(1))
    assert "secret" not in caught.value.line()


def test_fail__one_line_and_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        flags = ["--host", "127.0.0.1", "--plain", "--stun-port", "0", "--state-dir", str(tmp_path)]
        assert run([*flags, "--port", str(port)]) == 1
    assert run(["--state-dir", "/proc/nowhere", "--plain"]) == 1
    assert run(["--no-such-flag"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"waypost-derp: cannot listen on TCP port {port}: ")
    assert "→" in lines[0]
    assert lines[1].startswith("waypost-derp: cannot write /proc/nowhere/derp.key: ")


async def test_ok__serves_and_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop = asyncio.Event()
    port, stun_port = free_port(), free_port()
    settings = DerpSettings("127.0.0.1", port, stun_port, str(tmp_path), ("127.0.0.1",))
    running = asyncio.ensure_future(serve(settings, stop))
    while not (printed := capsys.readouterr().out):
        await asyncio.sleep(0)
        assert not running.done()
    assert f"relay on TCP port {port}, STUN on UDP port {stun_port}, CertName sha256-raw:" in printed
    context = ssl.create_default_context(cafile=str(tmp_path / "derp-certificate.pem"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET /derp/latency-check HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", stun_port))
        sock.send(encode_request(bytes(12)))
        answer = await asyncio.get_running_loop().sock_recv(sock, 100)
        assert parse_response(answer).mapped == sock.getsockname()
    stop.set()
    await running


@pytest.mark.timeout(30)
async def test_ok__process_ends_on_sigterm(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from control.derp.main import main; main()", "--plain", "--host", "127.0.0.1", "--port", "0"),
        *("--stun-port", "0", "--state-dir", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).startswith(b"relay on TCP port ")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_ok__mesh_names_metrics_and_reload(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two relays of one region, as an operator starts them."""
    (tmp_path / "mesh.key").write_text("5a" * 32 + "\n")
    (tmp_path / "keys").write_text("# nobody yet\n")
    ports, stop = [free_port(), free_port()], asyncio.Event()
    metrics, plain = free_port(), free_port()
    settings = [
        DerpSettings(
            host="127.0.0.1",
            port=ports[number],
            stun_port=0,
            state_dir=str(tmp_path / str(number)),
            plain=True,
            mesh_key_file=str(tmp_path / "mesh.key"),
            mesh_peers=tuple(f"http://127.0.0.1:{port}" for port in ports),
            bootstrap_names=("localhost",),
            metrics=f"127.0.0.1:{metrics}" if number == 0 else "",
            http_port=plain if number == 0 else 0,
            allow_file=str(tmp_path / "keys"),
        )
        for number in (0, 1)
    ]
    readings: list[int] = []

    def reading() -> DerpSettings:
        readings.append(1)
        return replace(settings[0], client_bytes_per_s=5)

    running = [
        asyncio.ensure_future(serve(settings[0], stop, reading)),
        asyncio.ensure_future(serve(settings[1], stop)),
    ]
    printed = ""
    while printed.count("relay on TCP port") < 2:
        await asyncio.sleep(0.01)
        printed += capsys.readouterr().out
        assert not any(task.done() for task in running)
    while b"waypost_derp_current_keys 1\n" not in (await get(metrics, "/metrics")):
        await asyncio.sleep(0.05)  # the other server's, which dialled this one and needs no admission
    assert b"404" in (await get(metrics, "/derp/probe"))
    assert (await get(plain, "/generate_204")).startswith(b"HTTP/1.1 204 ")
    assert b"\r\nLocation: https://x:%d/derp?a=1\r\n" % ports[0] in (await get(plain, "/derp?a=1"))
    assert b"404" in (await get(ports[0], "/metrics")), "metrics are not for everybody"
    assert b'{"localhost": [' in (await get(ports[0], "/bootstrap-dns"))
    os.kill(os.getpid(), signal.SIGHUP)
    while not readings:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*running)
