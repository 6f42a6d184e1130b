"""What local programs and administrators send: the policy document and the JSON of the LocalAPI."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from appliance.daemon.preferences import effective_tables, patched, view_of
from appliance.localapi.schema import PingRequest, PrefsPatch, UpRequest
from appliance.netmap.address import parse_control_url
from appliance.state.profiles import Prefs
from appliance.types.errors import ApplianceError, ConfigError
from control.policy.document import parse_policy
from control.policy.problems import PolicyError
from tests.fuzz.control_targets import JSON_WORDS
from tests.fuzz.runner import Target

POLICY = b"""{
  // who may do what
  "groups": {"group:admin": ["alice@", "bob@example.com"],},
  "hosts": {"nas": "192.168.10.5", "lan": "192.168.10.0/24"},
  "tagOwners": {"tag:gw": ["group:admin"]},
  "acls": [
    {"action": "accept", "src": ["group:admin", "tag:gw"], "dst": ["nas:22,80-90", "*:*"], "proto": "tcp"},
    {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]}, /* own */
  ],
  "autoApprovers": {"routes": {"192.168.0.0/16": ["tag:gw"]}, "exitNode": ["tag:gw"]},
}"""


REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the socket's servers answer with 400."""


def run_policy(data: bytes) -> None:
    with suppress(PolicyError):
        parse_policy(data)


def run_localapi(data: bytes) -> None:
    """Decoded as the server does, then through the checks that a patch meets."""
    with suppress(*REFUSED):
        msgspec.json.decode(data, type=PingRequest)
    with suppress(*REFUSED):
        request = msgspec.json.decode(data, type=UpRequest)
        with suppress(ApplianceError):
            parse_control_url(request.control_url)
    with suppress(*REFUSED, ConfigError):
        patch = msgspec.json.decode(data, type=PrefsPatch)
        prefs = patched(Prefs(), patch)
        effective_tables({"subnet_router": {"snat": True}}, prefs)
        msgspec.json.encode(view_of(prefs, "", prefs.plugins))


TARGETS = (
    Target(
        "policy",
        run_policy,
        [POLICY, b"{}", b'{"acls": []}'],
        ("control/policy",),
        words=(*JSON_WORDS, b"//", b"/*", b"*/", b"\\u", b"autogroup:", b"tag:", b"group:", b":*", b"0-65535", b"::/0"),
    ),
    Target(
        "localapi",
        run_localapi,
        [
            b'{"control_url":"https://c.example:8443","auth_key":"k","force_login":true,"prefs":{"hostname":"gw"}}',
            b'{"advertise_tags":["tag:a"],"plugins":{"subnet_router":{"snat":null,"routes":["10.0.0.0/8"]}}}',
            b'{"target":"gateway-b","timeout_s":1.5}',
        ],
        ("appliance/daemon/preferences.py", "appliance/localapi", "appliance/netmap/address.py"),
        words=JSON_WORDS,
    ),
)
