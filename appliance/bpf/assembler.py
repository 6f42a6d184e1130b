"""eBPF instructions as bytes (RFC 9669). Pure.

An instruction has 8 bytes in the host's byte order: u8 opcode, u8 registers (4 bits each), s16 offset, s32 immediate; a
load of a 64-bit immediate takes two. Jumps name labels, which `assemble` turns into distances. Results are in r0,
arguments of calls in r1 to r5, which a call leaves void; r6 to r9 stay; r10 is the top of a stack of 512 bytes.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from enum import IntEnum

_LAYOUT = struct.Struct("=BBhi")
_LDX_MEM, _STX_MEM, _ST_MEM, _STX_ATOMIC = 0x61, 0x63, 0x62, 0xC3
_LD_IMM64, _MAP_FD = 0x18, 1
_ALU64, _ALU32, _JMP, _BY_REGISTER = 0x07, 0x04, 0x05, 0x08
_MOV, _NEG, _END_BIG = 0xB0, 0x80, 0xDC
_CALL, _EXIT = 0x85, 0x95
_FETCH = 0x01
MAX_DISTANCE = 0x7FFF


class Register(IntEnum):
    R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)


class Size(IntEnum):
    """Of a load or store, as the opcode has it."""

    WORD = 0x00
    HALF = 0x08
    BYTE = 0x10
    DOUBLE = 0x18


class Operation(IntEnum):
    """Arithmetic on 64 bits: the first operand becomes the result."""

    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    AND = 0x50
    RIGHT = 0x70
    XOR = 0xA0


class Test(IntEnum):
    """Jump conditions on 64 bits without sign."""

    __test__ = False  # no test of pytest's

    EQUAL = 0x10
    GREATER = 0x20
    AT_LEAST = 0x30
    BITS = 0x40
    NOT_EQUAL = 0x50
    LESS = 0xA0
    AT_MOST = 0xB0


@dataclass(frozen=True, slots=True)
class _Jump:
    at: int
    label: str


class Assembler:
    """Collects instructions. Methods take registers, and numbers for immediates and offsets."""

    def __init__(self) -> None:
        self._code: list[bytes] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[_Jump] = []

    def label(self, name: str) -> None:
        """The next instruction's name. Raises `ValueError` for one that is taken."""
        if name in self._labels:
            raise ValueError(f"label {name} twice")
        self._labels[name] = len(self._code)

    def move(self, to: Register, value: Register | int) -> None:
        self._by_kind(_ALU64 | _MOV, to, value)

    def move32(self, to: Register, value: Register) -> None:
        """The lower half; the upper one becomes 0."""
        self._by_kind(_ALU32 | _MOV, to, value)

    def do(self, operation: Operation, to: Register, value: Register | int) -> None:
        self._by_kind(_ALU64 | operation, to, value)

    def negate(self, register: Register) -> None:
        self._add(_ALU64 | _NEG, register)

    def big_endian(self, register: Register, bits: int) -> None:
        """From big-endian to the host's order, or back: 16, 32 or 64 bits."""
        self._add(_END_BIG, register, value=bits)

    def load(self, size: Size, to: Register, base: Register, offset: int) -> None:
        self._add(_LDX_MEM | size, to, base, offset)

    def store(self, size: Size, base: Register, offset: int, value: Register | int) -> None:
        if isinstance(value, Register):
            self._add(_STX_MEM | size, base, value, offset)
        else:
            self._add(_ST_MEM | size, base, offset=offset, value=value)

    def atomic_add(self, base: Register, offset: int, value: Register, *, fetch: bool = False) -> None:
        """Add to 64 bits of memory; with `fetch` the register gets what was there before."""
        self._add(_STX_ATOMIC | Size.DOUBLE, base, value, offset, _FETCH if fetch else 0)

    def load_map(self, to: Register, descriptor: int) -> None:
        """Address of a map; the kernel puts it in place of the descriptor."""
        self._add(_LD_IMM64, to, Register(_MAP_FD), value=descriptor)
        self._add(0)

    def call(self, helper: int) -> None:
        self._add(_CALL, value=helper)

    def exit(self) -> None:
        self._add(_EXIT)

    def jump(self, label: str) -> None:
        self._jumps.append(_Jump(len(self._code), label))
        self._add(_JMP)

    def jump_if(self, register: Register, test: Test, value: Register | int, label: str) -> None:
        self._jumps.append(_Jump(len(self._code), label))
        self._by_kind(_JMP | test, register, value)

    def assemble(self) -> bytes:
        """The program. Raises `ValueError` for a label that is nowhere, or too far."""
        code = list(self._code)
        for jump in self._jumps:
            if jump.label not in self._labels:
                raise ValueError(f"no label {jump.label}")
            distance = self._labels[jump.label] - jump.at - 1
            if not -MAX_DISTANCE <= distance <= MAX_DISTANCE:
                raise ValueError(f"label {jump.label} is too far away")
            opcode, registers, _, value = _LAYOUT.unpack(code[jump.at])
            code[jump.at] = _LAYOUT.pack(opcode, registers, distance, value)
        return b"".join(code)

    def _by_kind(self, opcode: int, to: Register, value: Register | int) -> None:
        if isinstance(value, Register):
            self._add(opcode | _BY_REGISTER, to, value)
        else:
            self._add(opcode, to, value=value)

    def _add(
        self,
        opcode: int,
        to: Register = Register.R0,
        source: Register = Register.R0,
        offset: int = 0,
        value: int = 0,
    ) -> None:
        """`value` has 32 bits, with or without sign; the kernel extends the sign where it needs 64."""
        if not -(1 << 31) <= value < 1 << 32:
            raise ValueError(f"{value} has more than 32 bits")
        signed = value - (1 << 32) if value >= 1 << 31 else value
        registers = to | source << 4 if sys.byteorder == "little" else to << 4 | source
        self._code.append(_LAYOUT.pack(opcode, registers, offset, signed))


def program_size(code: bytes) -> int:
    """Instructions in it."""
    return len(code) // _LAYOUT.size
