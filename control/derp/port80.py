"""The plain HTTP port of a DERP host: captive-portal checks, and everybody else on to HTTPS (derp spec 5.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from control.derp.endpoints import Reply, plain_reply
from control.derp.listener import ANY_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from appliance.proto.http1.head import RequestHead
    from control.derp.listener import Page

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:]{2,39}\]")
_TARGET = re.compile(r"/[!-~]{0,1024}")


def port80_pages(https_port: int) -> Mapping[str, Page]:
    """`https_port` is where the relay itself is."""

    def elsewhere(head: RequestHead) -> Reply:
        if head.path in ("/generate_204", "/robots.txt"):
            return plain_reply(head) or Reply(404)
        if head.method not in ("GET", "HEAD"):
            return Reply(400, (("Content-Type", "text/plain"),), b"this port speaks HTTPS elsewhere\n")
        host = (head.header("host") or "").rpartition(":")[0] or (head.header("host") or "")
        if not _HOST.fullmatch(host) or not _TARGET.fullmatch(head.target):
            return Reply(400, (("Content-Type", "text/plain"),), b"bad host\n")
        port = "" if https_port == 443 else f":{https_port}"
        return Reply(302, (("Location", f"https://{host}{port}{head.target}"),))

    return {ANY_PATH: elsewhere}
