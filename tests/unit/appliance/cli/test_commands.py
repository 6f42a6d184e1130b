"""The commands against a real local API server on a twin of the daemon."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs

from appliance.cli.main import run
from appliance.localapi.backend import MemoryBackend
from appliance.localapi.schema import (
    ControlStatus,
    DerpStatus,
    ErrorReply,
    Health,
    NetcheckReport,
    PeerStatus,
    PingReply,
    PingRequest,
    PrefsPatch,
    PrefsView,
    RegionLatency,
    Route,
    SelfStatus,
    Status,
    UplinkStatus,
    UpRequest,
)
from appliance.localapi.schema import Path as PeerPath
from appliance.localapi.server import LocalApiServer
from appliance.types.errors import Severity
from appliance.types.events import BackendState, PathKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)

STATUS = Status(
    version="0.1.0",
    state=BackendState.RUNNING,
    interface="waypost0",
    engine="userspace",
    engine_form="native",
    port=41641,
    self_node=SelfStatus(
        name="gw-a.mesh.example",
        addresses=("100.64.0.1", "fd7a:115c:a1e0::1"),
        advertised_routes=("192.168.10.0/24", "192.168.11.0/24"),
        approved_routes=("192.168.10.0/24",),
    ),
    control=ControlStatus(url="https://control.example", connected=True),
    derp=DerpStatus(region_id=1, region="fra", name="Frankfurt", connected=True),
    peers=(
        PeerStatus(
            stable_id="n2",
            name="gw-b.mesh.example",
            addresses=("100.64.0.2",),
            online=True,
            active=True,
            path=PeerPath(kind=PathKind.DIRECT, endpoint="203.0.113.5:41641", latency_s=0.0123),
            rx_bytes=5000,
            tx_bytes=70_000_000,
            routes=("192.168.20.0/24",),
        ),
        PeerStatus(stable_id="n3", name="phone.mesh.example", online=False, last_seen=NOW - timedelta(days=3)),
    ),
    routes=(
        Route(prefix="192.168.20.0/24", peer="gw-b.mesh.example", installed=True),
        Route(prefix="10.8.1.0/24", peer="gw-b.mesh.example", installed=True, own_first=True),
    ),
    health=(
        Health(code="ip-forwarding-off", severity=Severity.MEDIUM, text="Forwarding is off.", mend="M.", since=NOW),
    ),
)
VIEW = PrefsView(
    want_running=True,
    logged_out=False,
    control_url="https://control.example",
    hostname="",
    advertise_tags=(),
    shields_up=False,
    operator="",
    plugins={"subnet_router": {"snat": False}},
)

Call = Callable[..., int]


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend(STATUS, VIEW)


@pytest.fixture
def waypost(backend: MemoryBackend, tmp_path: Path) -> Iterator[Call]:
    """Runs a command against a server that lives in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    path = str(tmp_path / "api.sock")

    async def made() -> LocalApiServer:
        server = LocalApiServer(backend, path)
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(made(), loop).result(5)
    yield lambda *arguments: run(["--socket", path, *arguments])
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_ok__status_shows_everything(waypost: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost("status") == 0
    text = capsys.readouterr().out
    for part in (
        "running",
        "gw-a.mesh.example",
        "100.64.0.1",
        "https://control.example  connected",
        "Frankfurt  connected",
        "192.168.11.0/24 (waits for approval)",
        "direct 203.0.113.5:41641",
        "12.3 ms",
        "4.9 KiB",
        "66.8 MiB",
        "offline",
        "192.168.20.0/24",
        "installed",
        "installed, after this host's own",
        "medium: Forwarding is off.",
        "→ M.",
    ):
        assert part in text, part


def test_ok__status_json(waypost: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost("status", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["peers"][0]["path"] == {
        "kind": "direct",
        "endpoint": "203.0.113.5:41641",
        "region": "",
        "latency_s": 0.0123,
        "mtu": None,
    }


def test_ok__ip(waypost: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost("ip", "-4") == 0
    assert capsys.readouterr().out == "100.64.0.1\n"
    assert waypost("ip", "gw-b", "--json") == 0
    assert json.loads(capsys.readouterr().out) == ["100.64.0.2"]
    assert waypost("ip", "nobody") == 1
    assert "no peer is named nobody" in capsys.readouterr().err


def test_ok__ping_stops_at_a_direct_path(
    waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    path = PeerPath(kind=PathKind.DIRECT, endpoint="203.0.113.5:41641", latency_s=0.002)
    backend.pong = PingReply(name="gw-b", address="100.64.0.2", path=path)
    assert waypost("ping", "gw-b") == 0
    assert capsys.readouterr().out == "pong from gw-b (100.64.0.2) via direct 203.0.113.5:41641 in 2.0 ms\n"
    assert len(backend.asked) == 1


@pytest.mark.parametrize(
    ("option", "kind"), [("--tsmp", "TSMP"), ("--icmp", "ICMP"), ("--peerapi", "peerapi"), ("--disco", "disco")]
)
def test_ok__ping_of_a_kind_tells_the_peer_api(
    waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str], option: str, kind: str
) -> None:
    path = PeerPath(kind=PathKind.NONE, latency_s=0.002)
    backend.pong = PingReply(name="gw-b", address="100.64.0.2", path=path, peerapi_port=58436)
    assert waypost("ping", "gw-b", option, "-c", "1") == 0
    words = "pong from gw-b (100.64.0.2) via the tunnel in 2.0 ms, peer API on port 58436\n"
    assert capsys.readouterr().out == words
    assert backend.asked == [PingRequest(target="gw-b", kind=kind)]


def test_fail__ping_without_answer(waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    backend.pong = PingReply(error="no answer within 5 s")
    assert waypost("ping", "-c", "1", "gw-b") == 1
    assert "no answer" in capsys.readouterr().out


def test_ok__netcheck(waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    near = RegionLatency(
        region_id=1, code="fra", name="Frankfurt", latency_s=0.02, v4_latency_s=0.02, v6_latency_s=0.03
    )
    far = RegionLatency(region_id=2, code="ams", name="Amsterdam")
    backend.report = NetcheckReport(
        udp=True,
        ipv4=True,
        os_has_ipv6=True,
        global_v4="203.0.113.9:5",
        mapping_varies=False,
        port_mapping="UPnP, PCP",
        port_mapped="203.0.113.9:50001",
        preferred_region=1,
        regions=(near, far),
    )
    assert waypost("netcheck") == 0
    assert capsys.readouterr().out == (
        "\nReport:\n"
        "\t* UDP: true\n"
        "\t* IPv4: yes, 203.0.113.9:5\n"
        "\t* IPv6: no, but OS has support\n"
        "\t* MappingVariesByDestIP: false\n"
        "\t* HairPinning:\n"
        "\t* PortMapping: UPnP, PCP (203.0.113.9:50001)\n"
        "\t* CaptivePortal:\n"
        "\t* Nearest DERP: Frankfurt\n"
        "\t* DERP latency:\n"
        "\t\t- fra:    20.0ms   v4 20.0ms, v6 30.0ms (Frankfurt)\n"
        "\t\t- ams:             (Amsterdam)\n"
    )


def test_ok__netcheck_where_nothing_answers(
    waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.report = NetcheckReport(udp=False, captive_portal=True, port_mapping_error="PCP: not authorised")
    assert waypost("netcheck") == 0
    text = capsys.readouterr().out
    assert "\t* IPv4: (no addr found)\n\t* IPv6: no, unavailable in OS\n" in text
    assert "\t* PortMapping: none found (PCP: not authorised)\n\t* CaptivePortal: true\n" in text
    assert "unknown (no response to latency probes)" in text


def test_ok__up_sends_key_and_settings(
    waypost: Call, backend: MemoryBackend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    key.write_text("hskey-auth-abc\n")
    code = waypost(
        "up",
        "--control-url=https://control.example/",
        f"--auth-key-file={key}",
        "--advertise-routes=192.168.10.0/24, 10.0.0.0/8",
        "--accept-routes",
        "--no-snat",
    )
    assert code == 0
    settings = {"advertise_routes": ["192.168.10.0/24", "10.0.0.0/8"], "accept_routes": True, "snat": False}
    assert backend.asked == [
        UpRequest(
            control_url="https://control.example",
            auth_key="hskey-auth-abc",
            prefs=PrefsPatch(plugins={"subnet_router": settings}),
        )
    ]
    assert capsys.readouterr().out == "gw-a.mesh.example is up: 100.64.0.1, fd7a:115c:a1e0::1\n"


def test_ok__key_from_environment_and_argument_with_a_note(
    waypost: Call, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAYPOST_AUTH_KEY", "key-from-env")
    assert waypost("up") == 0
    assert waypost("up", "--auth-key", "key-from-argv") == 0
    assert [request.auth_key for request in backend.asked] == ["key-from-env", "key-from-argv"]
    captured = capsys.readouterr()
    assert "prefer --auth-key-file" in captured.err
    assert "key-from" not in captured.out + captured.err


def test_fail__login_error_is_one_line_with_the_mend(
    waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ErrorReply(code="control", text="control refused the pre-auth key", mend="make a new one")
    backend.current = structs.replace(STATUS, state=BackendState.NEEDS_LOGIN, login_error=error)
    assert waypost("up") == 1
    assert capsys.readouterr().err == "waypost: control refused the pre-auth key → make a new one\n"


def test_fail__up_gives_up_after_the_timeout(
    waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.current = structs.replace(STATUS, state=BackendState.STARTING, waiting_for="control does not answer")
    assert waypost("up", "--timeout", "0.1") == 1
    assert "not up after 0.1 s: control does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "two words", "\x00\u00e9"])
def test_fail__bad_key_file(waypost: Call, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    key.write_text(text)
    assert waypost("up", "--auth-key-file", str(key)) == 1
    assert "holds no pre-auth key" in capsys.readouterr().err
    assert waypost("up", "--auth-key-file", str(tmp_path / "none")) == 1


def test_ok__set_sends_only_what_is_named(waypost: Call, backend: MemoryBackend) -> None:
    assert waypost("set", "--hostname", "gw-x", "--plugin", "other.depth=3", "--advertise-tags", "") == 0
    assert backend.asked == [PrefsPatch(hostname="gw-x", advertise_tags=(), plugins={"other": {"depth": 3}})]


def test_ok__set_without_options_shows(
    waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    assert waypost("set") == 0
    assert backend.asked == []
    assert "subnet_router.snat:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "--advertise-routes", "192.168.10.1/24"),
        ("set", "--advertise-tags", "gateway"),
        ("set", "--plugin", "x=1"),
        ("statsu",),
        ("ping",),
    ],
)
def test_fail__wrong_usage(waypost: Call, arguments: tuple[str, ...], backend: MemoryBackend) -> None:
    assert waypost(*arguments) == 2
    assert backend.asked == []


def test_ok__health_exit_code_tells(waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost("health") == 1
    backend.current = structs.replace(STATUS, health=())
    assert waypost("health") == 0
    assert capsys.readouterr().out.endswith("healthy\n")


def test_ok__version_and_debug(waypost: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost("version", "--json") == 0
    assert json.loads(capsys.readouterr().out)["daemon"]["version"] == "0.1.0"
    assert waypost("debug", "counters") == 0
    assert "unknown_datagram" in capsys.readouterr().out
    assert waypost("metrics") == 0
    assert "# TYPE waypost_peers gauge" in capsys.readouterr().out
    assert waypost("metrics", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"waypost_peers": 3.0}
    assert waypost("debug", "loop", "--seconds", "0.1") == 0
    assert "worst" in capsys.readouterr().out
    assert waypost("debug", "netmap") == 0
    assert json.loads(capsys.readouterr().out)["peers"] == ["gw-b.mesh.example", "phone.mesh.example"]


def test_fail__daemon_not_running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--socket", str(tmp_path / "none"), "status"]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "waypostd is not running" in error
    assert "systemctl start waypostd" in error


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_ok__completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_WAYPOST_COMPLETE" in capsys.readouterr().out


def test_ok__start_loads_neither_rich_nor_aiohttp_nor_the_daemon() -> None:
    code = (
        "import sys\nfrom appliance.cli.main import run\nrun(['--help'])\n"
        "bad = {'rich', 'aiohttp', 'asyncio', 'cryptography'} & set(sys.modules)\n"
        "bad |= {name for name in sys.modules if name.startswith(('appliance.daemon', 'appliance.engine'))}\n"
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ok__login_page_is_shown_with_a_code(
    waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    page = "https://control.example/register/0123456789"
    backend.current = structs.replace(STATUS, state=BackendState.NEEDS_LOGIN, login_pending=True, auth_url=page)
    threading.Timer(0.5, lambda: setattr(backend, "current", STATUS)).start()
    assert waypost("up", "--qr", "--profile", "work", "--ca-file", "") == 0
    printed = capsys.readouterr()
    assert page in printed.err
    assert "█" in printed.err
    assert "is up" in printed.out
    (request,) = backend.asked
    assert isinstance(request, UpRequest)
    assert (request.profile, request.prefs.ca_file, request.force_login) == ("work", "", False)


def test_ok__login_waits_for_the_renewal_beside_what_runs(
    waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.current = structs.replace(STATUS, login_pending=True, auth_url="https://c.example/register/1")
    threading.Timer(0.5, lambda: setattr(backend, "current", STATUS)).start()
    assert waypost("login", "--no-qr") == 0
    printed = capsys.readouterr()
    assert "https://c.example/register/1" in printed.err
    assert "█" not in printed.err
    (request,) = backend.asked
    assert isinstance(request, UpRequest)
    assert request.force_login


def test_fail__login_that_takes_too_long(
    waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.current = structs.replace(STATUS, login_pending=True, auth_url="https://c.example/register/1")
    assert waypost("login", "--timeout", "0.1") == 1
    assert "it goes on in the background" in capsys.readouterr().err


def test_ok__profiles(waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost("profiles", "list") == 0
    assert capsys.readouterr().out.startswith("* default")
    assert waypost("profiles", "list", "--json") == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["default", "work"]
    assert waypost("profiles", "switch", "work") == 0
    assert waypost("profiles", "delete", "work", "--json") == 0
    assert backend.asked == [("switch", "work"), ("delete", "work")]


def test_ok__status_says_when_the_login_ends(
    waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    for left, text in ((timedelta(days=3, hours=1), "expires in 3 d"), (timedelta(days=-1), "expired")):
        node = structs.replace(STATUS.self_node, key_expiry=datetime.now(UTC) + left)
        backend.current = structs.replace(STATUS, self_node=node)
        assert waypost("status") == 0
        assert text in capsys.readouterr().out


def test_ok__settings_on_trial(waypost, backend, capsys) -> None:
    assert waypost("set", "--hostname", "gw-x", "--confirm-within", "5m") == 0
    assert backend.asked[-1] == PrefsPatch(hostname="gw-x", confirm_within_s=300.0)
    assert "waypost confirm" in capsys.readouterr().out
    assert waypost("confirm") == 0
    assert backend.asked[-1] == "confirm"
    backend.current = structs.replace(STATUS, unconfirmed_s=41.3)
    waypost("status")
    assert "on trial, go back in 41 s" in capsys.readouterr().out


def test_fail__nothing_to_put_on_trial(waypost, backend) -> None:
    before = list(backend.asked)
    assert waypost("set", "--confirm-within", "60s") == 2
    assert waypost("set", "--hostname", "x", "--confirm-within", "soon") == 2
    assert backend.asked == before


def test_ok__uplinks(waypost: Call, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost("uplinks") == 0
    assert "the host's own default route" in capsys.readouterr().out.lower()
    used = UplinkStatus(
        interface="eth0",
        in_use=True,
        state="lossy",
        latency_s=0.0123,
        loss=0.25,
        rx_bytes_s=1.25e6,
        rx_peak_bytes_s=1e7,
    )
    backend.current = structs.replace(backend.current, uplinks=(used, UplinkStatus(interface="wwan0")))
    assert waypost("uplinks") == 0
    assert capsys.readouterr().out == (
        "* eth0            lossy      12.3 ms   25% lost  down 10.0 Mbit/s (most 80.0)  up 0.0 Mbit/s (most 0.0)\n"
        "  wwan0           absent           -    0% lost  down 0.0 Mbit/s (most 0.0)  up 0.0 Mbit/s (most 0.0)\n"
    )
    assert waypost("uplinks", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["in_use"] is True
