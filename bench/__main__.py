"""`python -m bench [NAME …]`: run the benchmarks and print one JSON line per figure."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

from tests.lab.namespaces import LabError, enter_user_namespace

BENCHES = (
    "userspace_tcp",
    "udp_small",
    "latency",
    "peer_relay",
    "derp",
    "proxy_tcp",
    "time_to_path",
    "idle_cpu",
    "gateway_memory",
    "control_nodes",
    "control_fanout",
    "control_reconnect",
    "control_processes",
    "policy_compile",
    "loop_stall",
    "filter_rules",
    "netmap_apply",
    "kernel_tcp",
    "dns",
    "ha_failover",
    "routed_tcp",
    "routes_10k",
    "sim_speed",
)


def main() -> int:
    wanted = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in wanted if name not in BENCHES]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    try:
        enter_user_namespace()
        for name in wanted:
            print(f"bench: {name} …", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="waypost-bench-", ignore_cleanup_errors=True) as directory:
                for result in importlib.import_module(f"bench.{name}").run(Path(directory)):
                    print(result, flush=True)
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
