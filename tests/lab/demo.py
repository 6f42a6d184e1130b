"""`make demo`: two sites, one tunnel, on real packets.

Builds the lab (see tests/lab/topology.py for the picture), joins two gateways with a pre-auth key, and opens a web
page of LAN B from LAN A by its LAN address. Every step is checked; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from tests.lab.mesh import CONTROL_URL, PROGRAMS, ControlServer, Gateway, fetch, page, web_server
from tests.lab.namespaces import Lab, LabError, enter_user_namespace
from tests.lab.processes import TimeoutExceeded, wait_until
from tests.lab.topology import Internet, NatKind, Site, site

GREETING = "Hello from LAN B, through WireGuard."


class Interrupted(Exception):
    """Ctrl-C or SIGTERM."""


def say(text: str) -> None:
    print(text, flush=True)


def join(control: ControlServer, gateway: Gateway, where: Site, name: str) -> None:
    gateway.start()
    key = control.pre_auth_key("demo")
    gateway.up(key, "--hostname", name, "--advertise-routes", where.lan, "--accept-routes")


def show(lab: Lab, directory: Path, once: bool) -> dict[str, object]:
    say("Building the lab: a control server, an Internet, two sites behind separate NATs …")
    internet = Internet(lab)
    control = ControlServer(internet.server("control", 1), directory / "control")
    site_a = site(internet, "a", 10, NatKind.EASY)
    site_b = site(internet, "b", 20, NatKind.EASY)
    site_a.route_to(site_b)
    page(directory / "web", GREETING)
    web_server(site_b.host, site_b.host_ip, directory / "web")

    say(f"Starting the control server at {CONTROL_URL} …")
    control.start()

    gateway_a = Gateway(site_a.gateway, directory / "a")
    gateway_b = Gateway(site_b.gateway, directory / "b")
    say(f"Joining gateway-b ({site_b.lan}) with a pre-auth key …")
    join(control, gateway_b, site_b, "gateway-b")
    say(f"Joining gateway-a ({site_a.lan}) with a pre-auth key …")
    started, started_at = time.monotonic(), datetime.now(UTC)
    join(control, gateway_a, site_a, "gateway-a")
    for name in ("gateway-a", "gateway-b"):
        control.json("routes", "approve", name)

    url = f"http://{site_b.host_ip}/"
    say(f"Opening {url} on a host of LAN A …")
    wait_until(lambda: fetch(site_a.host, url, 2) == GREETING, 30, "the web page of LAN B on LAN A")
    first_reply_s = time.monotonic() - started
    say(f"  {GREETING}  ({first_reply_s:.1f} s after gateway-a was started)")
    gateway_a.wait_for_path("gateway-b", "direct", 30)
    http_ok = fetch(site_a.host, url) == GREETING
    history = [((at - started_at).total_seconds(), kind) for at, kind in gateway_a.path_history("gateway-b")]
    direct_s = next(seconds for seconds, kind in history if kind == "direct")
    steps = ", then ".join(f"{kind} after {seconds:.3f} s" for seconds, kind in history)
    say(f"  path of gateway-a to gateway-b: {steps}\n")
    say("$ waypost status")
    say(gateway_a.must("status"))
    result: dict[str, object] = {
        "path": gateway_a.path_to("gateway-b"),
        "http_ok": http_ok,
        "first_reply_s": round(first_reply_s, 2),
        "direct_s": round(direct_s, 2),
    }
    if not once:
        say(f"The lab stays up until Ctrl-C; logs are in {lab.log_dir}. Live status of gateway-a:\n")
        watch = site_a.gateway
        live = watch.attach(str(PROGRAMS / "waypost"), "--socket", str(gateway_a.socket), "status", "--watch")
        live.wait()
    for gateway in (gateway_a, gateway_b):
        gateway.must("down")
    return result


def interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise Interrupted


def main() -> int:
    parser = argparse.ArgumentParser(description="Two sites, one tunnel, on real packets.")
    parser.add_argument("--once", action="store_true", help="run through, clean up and exit")
    once = parser.parse_args().once
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    result: dict[str, object] = {"path": None, "http_ok": False, "first_reply_s": None, "direct_s": None}
    code = 1
    with tempfile.TemporaryDirectory(prefix="waypost-demo-", ignore_cleanup_errors=True) as directory:
        logs = Path(directory) / "logs"
        try:
            enter_user_namespace()
            with Lab(logs) as lab:
                result = show(lab, Path(directory), once)
            code = 0 if result["http_ok"] and result["path"] == "direct" else 1
        except Interrupted:
            say("\nInterrupted; everything is cleaned up.")
            code = 0 if not once else 130
        except (LabError, TimeoutExceeded, AssertionError) as error:
            print(f"demo failed: {error}", file=sys.stderr)
            for log in sorted(logs.glob("*waypost*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}", file=sys.stderr)
    say(json.dumps(result))
    return code


if __name__ == "__main__":
    sys.exit(main())
