"""The cases behind docs/control/policy-compatibility.md; `python -m tests.unit.control.policy.compatibility` writes it.

Facts: policy-and-management spec sections 1.2 to 1.10.
"""

# ruff: noqa: E501  # one case a line, as on the page

from __future__ import annotations

from pathlib import Path

PAGE = Path("docs/control/policy-compatibility.md")
OWNERS = '"tagOwners": {"tag:a": []}'

SECTIONS = (
    ("groups", '{"groups": {"group:a": ["ann@", "bob@example.org"], "group:none": []}}', "users only"),
    ("hosts", '{"hosts": {"nas": "10.0.0.5", "lan": "10.0.0.0/24"}}', "an address or a network"),
    ("tagOwners", '{"tagOwners": {"tag:a": ["ann@", "autogroup:admin"], "tag:b": ["tag:a"], "tag:c": []}}', "nest; `[]` = administrators only"),
    ("ipsets", '{"ipsets": {"ipset:a": ["10.0.0.0/24", "remove 10.0.0.7", "add 10.1.0.1-10.1.0.9"]}, "grants": [{"src": ["ipset:a"], "dst": ["*"], "ip": ["*"]}]}', "left to right; may nest"),
    ("acls", '{"acls": [{"action": "accept", "src": ["*"], "proto": "tcp", "dst": ["*:22,80-90"]}]}', "accept only; old names users, ports"),
    ("grants", '{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["tcp:443", "icmp:*"], "app": {"x.org/cap": [{}]}}]}', "`ip`, `app` or both"),
    ("grants via", f'{{{OWNERS}, "grants": [{{"src": ["*"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:a"]}}]}}', "through routers with the tag only"),
    ("ssh", f'{{{OWNERS}, "ssh": [{{"action": "check", "src": ["ann@"], "dst": ["tag:a"], "users": ["root"], "checkPeriod": "20m", "acceptEnv": ["LC_*"], "recorder": ["tag:a"], "enforceRecorder": true}}]}}', "checks wait for an administrator"),
    ("nodeAttrs", '{"nodeAttrs": [{"target": ["*"], "attr": ["funnel"], "ipPool": ["100.81.0.0/16"]}]}', "new nodes get their IPv4 address from the pool"),
    ("nodeAttrs app", f'{{{OWNERS}, "nodeAttrs": [{{"target": ["*"], "app": {{"tailscale.com/app-connectors": [{{"name": "x", "connectors": ["tag:a"], "domains": ["example.org"]}}]}}}}]}}', "sent to connectors with the tag"),
    ("autoApprovers", f'{{{OWNERS}, "autoApprovers": {{"routes": {{"10.0.0.0/8": ["tag:a"]}}, "exitNode": ["tag:a"], "services": {{"svc:web": ["tag:a"]}}}}}}', "only add approvals"),
    ("postures", '{"postures": {"posture:a": ["node:os IN [\'linux\', \'macos\']", "custom:tier IS SET"]}, "defaultSrcPosture": ["posture:a"]}', "all assertions hold; names are alternatives"),
    ("attrConfig", '{"attrConfig": {"custom:tier": {"type": "string", "allowSetByNode": false}}}', "checked"),
    ("tests", '{"tests": [{"src": "ann@", "proto": "tcp", "accept": ["10.0.0.5:22"], "deny": ["10.0.0.5:23"]}]}', "must pass before a policy is in force"),
    ("sshTests", f'{{{OWNERS}, "sshTests": [{{"src": "ann@", "dst": ["tag:a"], "accept": ["root"], "deny": ["x"]}}]}}', "must pass before a policy is in force"),
    ("switches", '{"randomizeClientPort": true, "disableIPv4": false, "oneCGNATRoute": "mac-always"}', "node attributes of every node"),
)  # fmt: skip

PLACES = {
    "src": '"grants": [{{"src": ["{}"], "dst": ["*"], "ip": ["*"]}}]',
    "dst": '"grants": [{{"src": ["autogroup:member"], "dst": ["{}"], "ip": ["*"]}}]',
    "ssh src": '"ssh": [{{"action": "accept", "src": ["{}"], "dst": ["tag:a"], "users": ["root"]}}]',
    "ssh dst": '"ssh": [{{"action": "accept", "src": ["autogroup:member"], "dst": ["{}"], "users": ["root"]}}]',
    "ssh users": '"ssh": [{{"action": "accept", "src": ["ann@"], "dst": ["tag:a"], "users": ["{}"]}}]',
    "nodeAttrs": '"nodeAttrs": [{{"target": ["{}"], "attr": ["x"]}}]',
    "tagOwners": '"autoApprovers": {{"exitNode": ["{}"]}}',
}
_ROLES = ("owner", "admin", "it-admin", "network-admin", "billing-admin", "auditor")
_ROLE_PLACES = {"src", "dst", "ssh src", "nodeAttrs", "tagOwners"}
AUTOGROUPS = {
    "internet": {"dst"},
    "self": {"dst", "ssh dst"},
    "member": {"src", "dst", "ssh src", "ssh dst", "nodeAttrs", "tagOwners"},
    "tagged": {"src", "dst", "ssh src", "ssh dst", "nodeAttrs"},
    "danger-all": {"src"},
    "nonroot": {"ssh users"},
    "shared": {"src"},
    **dict.fromkeys(_ROLES, _ROLE_PLACES),
}
"""Where each may stand. `tagOwners` stands for autoApprovers too."""


def acl(src='"*"', dst='"*:*"', more=""):
    return f'{{{OWNERS}, "acls": [{{"action": "accept", "src": [{src}], "dst": [{dst}]{more}}}]}}'


def grant(dst='"*"', more='"ip": ["*"]', src='"*"'):
    return f'{{{OWNERS}, "grants": [{{"src": [{src}], "dst": [{dst}], {more}}}]}}'


def ssh(more='"users": ["root"]', action='"action": "accept"', dst='"tag:a"', src='"ann@"'):
    return (
        f'{{{OWNERS}, "hosts": {{"srv": "10.0.0.1"}}, "ssh": [{{{action}, "src": [{src}], "dst": [{dst}], {more}}}]}}'
    )


SELF_TEXT = "autogroup:self can only be used with users, groups, or supported autogroups"
REFUSALS = (
    ("acl-tag-src", acl('"tag:x"'), 'src=tag not found: "tag:x"'),
    ("acl-tag-dst", acl(dst='"tag:x:22"'), 'dst="tag:x": tag not found: "tag:x"'),
    ("acl-action", '{"acls": [{"action": "deny", "src": ["*"], "dst": ["*:*"]}]}', 'action="deny" is not supported'),
    ("acl-ports-word", acl(dst='"tag:a:ssh"'), 'dst="tag:a:ssh": port range "ssh": invalid first integer'),
    ("acl-self-without-ports", acl('"ann@"', '"autogroup:self"'), 'dst="autogroup:self": port range "self": invalid first integer'),
    ("acl-self-src", acl('"autogroup:self"'), '"autogroup:self" not valid on the src side of a rule'),
    ("acl-self-from-tag", acl('"tag:a"', '"autogroup:self:*"'), SELF_TEXT),
    ("grant-self-from-any", grant('"autogroup:self"'), SELF_TEXT),
    ("grant-port-0", grant(more='"ip": ["0"]'), "port range \"0\": first port must be >0, or use '*' for wildcard"),
    ("grant-icmp-alone", grant(more='"ip": ["icmp"]'), 'port range "icmp": invalid first integer'),
    ("grant-empty", grant(more='"ip": []'), "ip and app can not both be empty"),
    ("grant-via-user", grant(more='"ip": ["*"], "via": ["ann@"]'), "via can only be a tag"),
    ("grant-via-unknown", grant(more='"ip": ["*"], "via": ["tag:x"]'), 'tag "tag:x" not found'),
    ("grant-danger-all", grant('"autogroup:danger-all"'), "cannot use autogroup:danger-all as a dst"),
    ("grant-app-internet", grant('"autogroup:internet"', '"app": {"x.org/c": [{}]}'), "cannot use app grants with autogroup:internet"),
    ("grant-all-v4", grant('"0.0.0.0/0"'), 'dst "0.0.0.0/0": to allow all IP addresses, use "*" or "autogroup:internet"'),
    ("grant-all-v6", grant('"::/0"'), 'dst "::/0": to allow all IP addresses, use "*" or "autogroup:internet"'),
    ("grant-capability-form", grant(more='"app": {"cap": [{}]}'), "capability name must have the form {domain}/{path}"),
    ("grant-capability-domain", grant(more='"app": {"tailscale.com/cap/x": [{}]}'), "capability name must not be in the tailscale.com domain"),
    ("grant-posture", grant(more='"ip": ["*"], "srcPosture": ["posture:x"]'), 'posture not found: "posture:x"'),
    ("ssh-action-missing", ssh(action='"#": 0'), "action must be specified"),
    ("ssh-action", ssh(action='"action": "deny"'), '"deny" is not a valid action'),
    ("ssh-users-missing", ssh('"#": 0'), "users must be specified"),
    ("ssh-users-any", ssh('"users": ["*"]'), 'user "*" is not valid'),
    ("ssh-users-empty", ssh('"users": [""]'), 'user "" is not valid'),
    ("ssh-dst-host", ssh(dst='"srv"'), 'invalid dst "srv"'),
    ("ssh-env-empty", ssh('"users": ["root"], "acceptEnv": [""]'), "acceptEnv values cannot be empty"),
    ("ssh-period-long", ssh('"users": ["root"], "checkPeriod": "200h"', '"action": "check"'), "checkPeriod 200h0m0s is above the max (168h)"),
    ("ssh-period-negative", ssh('"users": ["root"], "checkPeriod": "-1m"', '"action": "check"'), "checkPeriod -1m0s must be a positive duration"),
    ("ssh-period-word", ssh('"users": ["root"], "checkPeriod": "abc"', '"action": "check"'), 'time: invalid duration "abc"'),
    ("ssh-tag-to-user", ssh(src='"tag:a"', dst='"ann@"'), 'tagged sources may not reach "ann@"'),
    ("groups-recursive", '{"groups": {"group:o": ["group:i"]}}', 'groups["group:o"]: "group:i": group members cannot be recursive'),
    ("tags-letter", '{"tagOwners": {"tag:1": []}}', "tagOwners[\"tag:1\"]: tag names must start with a letter, after 'tag:'"),
    ("attrs-tag", '{"nodeAttrs": [{"target": ["tag:x"], "attr": ["y"]}]}', 'tag not found: "tag:x"'),
    ("attrs-target", '{"nodeAttrs": [{"target": ["%x%"], "attr": ["y"]}]}', '"%x%": invalid address'),
    ("attrs-pool", '{"nodeAttrs": [{"target": ["*"], "ipPool": ["100.100.100.0/24"]}]}', "IPPool(100.100.100.0/24): network within reserved range"),
    ("tests-empty", '{"tests": [{"src": "ann@"}]}', "test(s) failed"),
    ("tests-port-list", '{"tests": [{"src": "ann@", "accept": ["10.0.0.1:22,23"]}]}', "test(s) failed"),
    ("tests-network", '{"tests": [{"src": "ann@", "accept": ["10.0.0.0/8:22"]}]}', "test(s) failed"),
    ("tests-internet", '{"tests": [{"src": "ann@", "deny": ["autogroup:internet:22"]}]}', "test(s) failed"),
    ("sshtests-network", '{"sshTests": [{"src": "ann@", "dst": ["100.64.0.0/24"], "accept": ["x"]}]}', 'SSH tests dst contains disallowed element "100.64.0.0/24"'),
    ("sshtests-port", f'{{{OWNERS}, "sshTests": [{{"src": "ann@", "dst": ["tag:a:22"], "accept": ["x"]}}]}}', 'SSH tests dst contains unknown tag "tag:a:22"'),
    ("unknown-field", '{"aclz": []}', 'unknown field: "aclz"'),
    ("derp-map", '{"derpMap": {}}', 'section "derpMap" is not supported'),
    ("ipset-circle", '{"ipsets": {"ipset:a": ["ipset:a"]}}', 'ipsets["ipset:a"]: "ipset:a" contains itself'),
    ("comma", '{"acls": [] "ssh": []}', "no comma before '\"'"),
)  # fmt: skip

DEVIATIONS = (
    "`ssh` users named `autogroup:…` other than `autogroup:nonroot` are refused: elsewhere they are taken as login names.",
    "`ssh` rules, ACLs and grants without `src` or `dst` are refused; an empty list is allowed and does nothing.",
    "A posture lets in nodes only: addresses and networks in `src` then mean the nodes that have them.",
    "A node with several tags is named once among the principals of an SSH rule.",
    "`localpart:` and `user:*@` take any domain; users without an e-mail address there match nothing.",
)


def page() -> str:
    """The whole page."""
    lines = [
        "# Policy compatibility",
        "",
        "Every line is a case that the tests run; the page is made from them",
        "(`python -m tests.unit.control.policy.compatibility`). Meaning and commands: [the policy](policy.md).",
        "",
        "## Sections",
        "",
        "| Section | Accepted | Notes |",
        "|---|---|---|",
        *(f"| {name} | `{_cell(text)}` | {notes} |" for name, text, notes in SECTIONS),
        "",
        "## Autogroups",
        "",
        "`autogroup:…`; `tagOwners` stands for `autoApprovers` too.",
        "",
        f"| | {' | '.join(PLACES)} |",
        f"|---|{'---|' * len(PLACES)}",
        *(f"| {name} | {' | '.join('y' if one in places else '-' for one in PLACES)} |" for name, places in AUTOGROUPS.items()),
        "",
        "## Refusals",
        "",
        "Each has line and column, and says what to write instead.",
        "",
        "| Case | Policy | Text |",
        "|---|---|---|",
        *(f"| {name} | `{_cell(text)}` | `{_cell(says)}` |" for name, text, says in REFUSALS),
        "",
        "## Where we differ on purpose",
        "",
        *(f"- {text}" for text in DEVIATIONS),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
