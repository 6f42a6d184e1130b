"""bpf(2) where this process may use it, and what is said where it may not."""

import errno
import os

import pytest

from appliance.bpf import calls
from appliance.bpf.assembler import Assembler, Register, Size
from appliance.bpf.relay_loader import load_relay


@pytest.fixture
def array():
    try:
        descriptor = calls.create_map(calls.ARRAY, 4, 8, 2, "waypost_test")
    except OSError as error:
        pytest.skip(f"this process may make no map: {error.strerror}")
    yield descriptor
    os.close(descriptor)


def test_ok__a_map_keeps_what_it_is_given(array):
    assert calls.look_up(array, bytes(4), 8) == bytes(8)
    calls.update(array, bytes(4), b"12345678")
    assert calls.look_up(array, bytes(4), 8) == b"12345678"
    assert not os.get_inheritable(array)


def test_fail__keys_that_are_not_there(array):
    hashed = calls.create_map(calls.HASH, 4, 8, 1, "waypost_hash", calls.ON_DEMAND)
    try:
        assert calls.look_up(hashed, b"none", 8) is None
        calls.delete(hashed, b"none")
        calls.update(hashed, b"some", bytes(8))
        with pytest.raises(OSError) as caught:
            calls.update(hashed, b"more", bytes(8))
        assert caught.value.errno == errno.E2BIG
        calls.delete(hashed, b"some")
        assert calls.look_up(hashed, b"some", 8) is None
    finally:
        os.close(hashed)


@pytest.mark.usefixtures("array")
def test_fail__a_program_that_the_kernel_does_not_believe():
    code = Assembler()
    code.load(Size.WORD, Register.R0, Register.R5, 0)
    code.exit()
    with pytest.raises(OSError, match="R5 !read_ok"):
        calls.load_classifier(code.assemble(), "waypost_test")


@pytest.mark.usefixtures("array")
def test_ok__the_kernel_believes_the_relay_s_program():
    descriptors = load_relay(41642, 0x80000)
    assert len({descriptors.program, descriptors.pairs, descriptors.lease}) == 3
    descriptors.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptors.program)


def test_fail__a_machine_whose_call_is_not_known(monkeypatch):
    monkeypatch.setattr(calls.platform, "machine", lambda: "pdp11")
    with pytest.raises(OSError, match="pdp11"):
        load_relay(41642, 0)
