"""The program as systemd and people start it."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from appliance.helper.main import account
from appliance.proto.helper.messages import MAX_MESSAGE_BYTES, SetSysctl, encode_message, parse_reply
from appliance.types.errors import ConfigError

pytestmark = pytest.mark.timeout(30)
"""Processes are started."""

PROGRAM = [sys.executable, "-c", "from appliance.helper.main import main; main()"]
# The shell stays this process: LISTEN_PID must name the program itself.
ACTIVATED = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 0</dev/null', "sh", *PROGRAM]


def test_ok__account():
    assert account("root") == (0, 0)
    assert account("61234") == (61234, 61234)
    with pytest.raises(ConfigError, match="no user"):
        account("no-such-user")


def test_ok__socket_activation_serves_and_stops_on_request(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "helper.sock"))
        listener.listen(1)
        started = subprocess.Popen(
            [*ACTIVATED, "--user", str(os.geteuid())], stdin=listener.fileno(), stdout=subprocess.PIPE, text=True
        )
    with started, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(20)
        connection.connect(str(tmp_path / "helper.sock"))
        connection.send(encode_message(SetSysctl(key="net/ipv4/conf/all/rp_filter", value="0")))
        reply = parse_reply(connection.recv(MAX_MESSAGE_BYTES))
        started.send_signal(signal.SIGTERM)
        output, _ = started.communicate(timeout=8)
    assert reply.code == "refused"
    assert started.returncode == 0
    line = json.loads(output)
    assert (line["event"], line["outcome"], line["uid"]) == ("helper-call", "refused", os.geteuid())
    assert (tmp_path / "helper.sock").exists()  # systemd's, not ours to remove


def test_fail__wrong_user_is_one_line_with_the_mend():
    done = subprocess.run([*PROGRAM, "--user", "no-such-user"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "waypost-helper: there is no user no-such-user (run systemd-sysusers, or give --user)\n"
