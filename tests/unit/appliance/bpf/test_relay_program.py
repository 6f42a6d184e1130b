"""The program's text. What it does to packets is shown by tests/lab/test_kernel_relay.py."""

import struct

from appliance.bpf.assembler import program_size
from appliance.bpf.relay_program import Maps, relay_program

CODE = relay_program(41642, 0x80000, Maps(5, 6))
HELPERS = {1, 5, 9, 11, 26, 28, 152}
"""Look up, time, store and load bytes of a packet, its checksum, a difference, send by the neighbour table."""


def instructions(code):
    return [struct.unpack_from("=BBhi", code, at) for at in range(0, len(code), 8)]


def test_ok__calls_are_few_and_open_to_any_licence():
    assert {value for opcode, _, _, value in instructions(CODE) if opcode == 0x85} == HELPERS


def test_ok__maps_port_and_mark_are_those_given():
    maps = [value for opcode, registers, _, value in instructions(CODE) if opcode == 0x18 and registers]
    assert sorted(maps) == [5, 5, 6, 6]
    changed = [
        (before, after)
        for before, after in zip(instructions(CODE), instructions(relay_program(7, 0x90000, Maps(5, 6))), strict=True)
        if before != after
    ]
    assert [(before[3], after[3]) for before, after in changed if before[0] == 0xB7] == [(0x80000, 0x90000)] * 2
    assert len(changed) == 4, "port and mark, once for each IP version"


def test_ok__every_old_kernel_takes_as_much():
    assert program_size(CODE) < 1000
    ends = [number for number, each in enumerate(instructions(CODE)) if each[0] == 0x95]
    assert ends[-1] == program_size(CODE) - 1
