"""What is missing is said with its mend."""

import pytest

from appliance.drivers.privileges import Capability, check_privileges, effective_capabilities
from appliance.types.errors import PrivilegeError


@pytest.fixture
def status(tmp_path):
    def write(held):
        path = tmp_path / "status"
        path.write_text(f"Name:\tx\nCapEff:\t{held:016x}\n")
        return path

    return write


def test_ok__capabilities(status):
    assert effective_capabilities(status(1 << 12 | 1 << 13)) == {Capability.NET_ADMIN, Capability.NET_RAW}
    assert effective_capabilities(status(0)) == set()


def test_ok__all_there(status, tmp_path):
    check_privileges(status=status(~0 & 2**40 - 1), tun_device=tmp_path, programs=("sh",))


def test_fail__each_missing_thing(status, tmp_path):
    all_held = 2**40 - 1
    with pytest.raises(PrivilegeError, match="CAP_NET_RAW") as caught:
        check_privileges(status=status(1 << 12), tun_device=tmp_path)
    assert "root" in caught.value.mend
    with pytest.raises(PrivilegeError, match="tun is missing") as caught:
        check_privileges(status=status(all_held), tun_device=tmp_path / "tun")
    assert "modprobe tun" in caught.value.mend
    with pytest.raises(PrivilegeError, match="no-such-program"):
        check_privileges(status=status(all_held), tun_device=tmp_path, programs=("no-such-program",))


def test_ok__unreadable_status_holds_nothing(tmp_path):
    assert effective_capabilities(tmp_path / "none") == set()
