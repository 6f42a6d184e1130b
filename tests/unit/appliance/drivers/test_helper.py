"""The helper's help with kernel settings is asked for only where the kernel refuses the daemon itself."""

import errno
import socket

import pytest

from appliance.drivers import helper as helper_module
from appliance.drivers.helper import HelpedSysctl, HelperClient, HelperError
from appliance.ports.sysctl import MemorySysctl, SysctlError, SysctlUnansweredError


class Helper:
    """A client whose helper writes, or refuses with an error."""

    def __init__(self, error=None):
        self.asked = []
        self._error = error

    async def set_sysctl(self, key, value):
        self.asked.append((key, value))
        if self._error is not None:
            raise self._error


class Refusing(MemorySysctl):
    """Kernel settings that refuse with an errno."""

    number = errno.EROFS

    async def write(self, key, value):
        raise SysctlError("cannot set it", mend="set it yourself") from OSError(self.number, "no")


async def test_ok__direct_where_possible():
    direct, helper = MemorySysctl({"net/ipv4/ip_forward": "0"}), Helper()
    helped = HelpedSysctl(direct, helper)
    await helped.write("net/ipv4/ip_forward", "1")
    assert await helped.read("net/ipv4/ip_forward") == "1"
    assert await helped.children("net/ipv4") == ["ip_forward"]
    assert helper.asked == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
async def test_ok__by_the_helper_where_refused(number):
    direct, helper = Refusing(), Helper()
    direct.number = number
    await HelpedSysctl(direct, helper).write("net/ipv4/ip_forward", "1")
    assert helper.asked == [("net/ipv4/ip_forward", "1")]


async def test_fail__no_such_setting_is_not_the_helpers_business():
    direct, helper = Refusing(), Helper()
    direct.number = errno.ENOENT
    with pytest.raises(SysctlError, match="cannot set it"):
        await HelpedSysctl(direct, helper).write("net/none", "1")
    with pytest.raises(SysctlError):
        await HelpedSysctl(MemorySysctl(), helper).write("net/none", "1")
    assert helper.asked == []


async def test_fail__helper_that_does_not_answer_may_still_write(tmp_path, monkeypatch):
    monkeypatch.setattr(helper_module, "CALL_TIMEOUT_S", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / "helper.sock"))
        listening.listen()
        helped = HelpedSysctl(Refusing(), HelperClient(str(tmp_path / "helper.sock")))
        with pytest.raises(SysctlUnansweredError, match="did not answer within"):
            await helped.write("net/ipv4/ip_forward", "1")
    with pytest.raises(SysctlError, match="does not answer") as caught:
        await helped.write("net/ipv4/ip_forward", "1")
    assert not isinstance(caught.value, SysctlUnansweredError)


async def test_fail__both_reasons_are_told():
    helped = HelpedSysctl(Refusing(), Helper(HelperError("no helper", mend="start it")))
    with pytest.raises(SysctlError, match="cannot set it; no helper") as caught:
        await helped.write("net/ipv4/ip_forward", "1")
    assert caught.value.mend == "start it"
