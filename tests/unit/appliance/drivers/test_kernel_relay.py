"""What is said where a program cannot be had; what it does is shown by tests/lab/test_kernel_relay.py."""

import errno
import os

import pytest

from appliance.bpf.relay_loader import RelayDescriptors
from appliance.drivers import kernel_relay
from appliance.drivers.helper import HelperError
from appliance.drivers.kernel_relay import open_kernel_relay
from appliance.ports.kernel_relay import KernelRelayError


@pytest.fixture
def refuse(monkeypatch):
    def by(number):
        def load_relay(port, mark):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(kernel_relay, "load_relay", load_relay)

    return by


async def away(port, mark):
    raise HelperError("the helper does not answer", mend="start it", code="helper-away")


async def test_fail__no_right_and_no_helper(refuse):
    refuse(errno.EPERM)
    with pytest.raises(KernelRelayError, match="may not load"):
        await open_kernel_relay(41642, 0, None)
    with pytest.raises(KernelRelayError, match="helper does not answer") as caught:
        await open_kernel_relay(41642, 0, away)
    assert caught.value.mend == "start it"


async def test_fail__an_old_kernel_is_not_asked_twice(refuse):
    refuse(errno.EINVAL)
    with pytest.raises(KernelRelayError, match="the kernel refuses the program: Invalid argument"):
        await open_kernel_relay(41642, 0, away)


async def test_fail__descriptors_that_no_device_takes_are_closed(refuse, monkeypatch):
    refuse(errno.EPERM)
    given = RelayDescriptors(*(os.open(os.devnull, os.O_RDONLY) for _ in range(3)))

    def attach(index, program, name):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    async def helper(port, mark):
        return given

    monkeypatch.setattr(kernel_relay, "detach_everywhere", lambda name: [])
    monkeypatch.setattr(kernel_relay, "attach", attach)
    with pytest.raises(KernelRelayError, match="no device takes the program: Operation not supported"):
        await open_kernel_relay(41642, 0, helper)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(given.program)
