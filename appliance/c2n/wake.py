"""`POST /wol`: control has hosts of this site woken (control-protocol spec 17); `mac` may be there several times."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

from appliance.c2n.routes import JSON
from appliance.c2n.table import TEXT, C2nTable
from appliance.netmap.pings import C2nReply
from appliance.proto.http1.head import RequestHead
from appliance.proto.wake_on_lan import encode_answer
from appliance.types.errors import ApplianceError
from appliance.types.wake import WakeReport

PATH = "/wol"
MAX_HOSTS = 16

Wake = Callable[[str, str], WakeReport]
"""`wake(mac, interface)`. Raises `ApplianceError`."""


def add_wake(table: C2nTable, wake: Wake) -> None:
    def answer(head: RequestHead, _body: bytes) -> C2nReply:
        try:
            macs = parse_qs(head.target.partition("?")[2], max_num_fields=MAX_HOSTS).get("mac", [])
        except ValueError:
            return 400, TEXT, f"more than {MAX_HOSTS} hosts at once\n".encode()
        if not macs:
            return 400, TEXT, b"no 'mac' parameter\n"
        try:
            reports = [wake(mac, "") for mac in macs]
        except ApplianceError as error:
            return 429 if error.code == "wake-rate" else 400, TEXT, f"{error.line()}\n".encode()
        joined = WakeReport(
            tuple(dict.fromkeys(name for report in reports for name in report.sent)),
            tuple(dict.fromkeys(line for report in reports for line in report.errors)),
        )
        return 200, JSON, encode_answer(joined)

    table.add("POST", PATH, answer)
