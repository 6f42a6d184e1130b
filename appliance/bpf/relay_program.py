"""The relay's program for tc (SCHED_CLS, at ingress of Ethernet devices): from one bound side to the other. Pure.

It forwards a packet only when all of this holds: it came to this host and to the relay's port, over IP without
options, extensions or fragments; it is data, not a handshake; its VNI is in the map of pairs; its source address and
port are one side's, its destination is the address at which we answer that side; it fits the way out; the daemon's
lease lasts. Anything else goes up to the socket untouched. The header that leaves has our address and port, the other
side's, and one hop less; checksums are changed by the difference, so that what was corrupt stays corrupt.

Receive offload puts packets of one flow together whatever their VNI: the Geneve header of each is looked at, and mixed
ones go up to be parted there (magicsock-disco spec 1.4, 5.4).
"""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass

from appliance.bpf import relay_records as record
from appliance.bpf.assembler import Assembler, Operation, Register, Size, Test

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = Register
BYTE, HALF, WORD, DOUBLE = Size.BYTE, Size.HALF, Size.WORD, Size.DOUBLE

PASS_ON, DROP = -1, 2
"""TC_ACT_UNSPEC: whoever is next, at last the socket. TC_ACT_SHOT."""
_LOOKUP, _TIME, _STORE, _L4_CHECKSUM, _LOAD, _DIFFERENCE, _REDIRECT = 1, 5, 9, 11, 26, 28, 152
"""Numbers of helper functions (linux/bpf.h); the last needs Linux 5.10."""
_RECOMPUTE, _PSEUDO_HEADER, _ZERO_IS_NONE = 0x1, 0x10, 0x20
_SKB_LENGTH, _SKB_KIND, _SKB_MARK, _SKB_PROTOCOL, _SKB_TAGGED, _SKB_SEGMENT = 0, 4, 8, 16, 20, 176
"""Fields of struct __sk_buff."""
_ETHERNET, _UDP, _GENEVE = 14, 8, 8
_MAX_SEGMENTS = 128
_ROOM = -256
"""On the stack: the header that leaves. Below the one that came, at `Family.at`, end above these:"""
_KEY, _NOW, _PAYLOAD, _COUNT, _OTHER, _LONGEST, _ADDRESSES = -136, -144, -152, -160, -168, -176, -184


@dataclass(frozen=True, slots=True)
class Family:
    """Offsets in an IP header. `first` begins what is rewritten; `at` is where it lies on the stack, its Geneve header
    at a multiple of 8."""

    version: int
    ethertype: int
    size: int
    first: int
    hops: int
    protocol: int
    source: int
    destination: int
    address: int
    at: int


V4 = Family(4, 0x0800, 20, first=8, hops=8, protocol=9, source=12, destination=16, address=4, at=-68)
V6 = Family(6, 0x86DD, 40, first=4, hops=7, protocol=6, source=8, destination=24, address=16, at=-64)


@dataclass(frozen=True, slots=True)
class Maps:
    """Descriptors."""

    pairs: int
    lease: int


def relay_program(port: int, mark: int, maps: Maps) -> bytes:
    """Forwards for the relay at UDP `port`; `mark` goes onto packets for the look-up of their next hop."""
    code = Assembler()
    code.move(R6, R1)
    for field in (_SKB_KIND, _SKB_TAGGED):
        code.load(WORD, R0, R6, field)
        code.jump_if(R0, Test.NOT_EQUAL, 0, "up")
    code.load(WORD, R0, R6, _SKB_PROTOCOL)
    code.jump_if(R0, Test.EQUAL, socket.htons(V4.ethertype), "v4")
    code.jump_if(R0, Test.EQUAL, socket.htons(V6.ethertype), "v6")
    code.label("up")
    code.move(R0, PASS_ON)
    code.exit()
    for family in (V4, V6):
        code.label(f"v{family.version}")
        _Relay(code, family, maps).write(port, mark)
    return code.assemble()


class _Relay:
    """The part of one IP version. r6: the packet; later r7: the pair, r8: the leg that it came from, r9: the other."""

    def __init__(self, code: Assembler, family: Family, maps: Maps) -> None:
        self._code = code
        self._family = family
        self._maps = maps

    def write(self, port: int, mark: int) -> None:
        self._read_header()
        self._check_header(port)
        self._check_length()
        self._check_segments()
        self._check_lease()
        self._find_legs()
        self._check_way()
        self._check_rate()
        self._count()
        self._make_header()
        self._change_checksums()
        self._write_header()
        self._send(mark)

    def _here(self, offset: int) -> int:
        """Where a byte of the IP header that came lies on the stack."""
        return self._family.at + offset

    def _new(self, offset: int) -> int:
        """Where a byte of the header that leaves lies on the stack."""
        return _ROOM + offset - self._family.first

    def _name(self, label: str) -> str:
        return f"{label}{self._family.version}"

    def _stack(self, to: Register, offset: int) -> None:
        self._code.move(to, R10)
        self._code.do(Operation.ADD, to, offset)

    def _must(self, size: Size, offset: int, value: int) -> None:
        """A field of the header that came has this value, or the packet goes up."""
        self._code.load(size, R0, R10, self._here(offset))
        self._code.jump_if(R0, Test.NOT_EQUAL, value, "up")

    def _read_header(self) -> None:
        self._code.move(R1, R6)
        self._code.move(R2, _ETHERNET)
        self._stack(R3, self._family.at)
        self._code.move(R4, self._family.size + _UDP + _GENEVE)
        self._code.call(_LOAD)
        self._code.jump_if(R0, Test.NOT_EQUAL, 0, "up")

    def _check_header(self, port: int) -> None:
        code, family = self._code, self._family
        code.load(BYTE, R0, R10, self._here(0))
        if family is V4:
            code.jump_if(R0, Test.NOT_EQUAL, 0x45, "up")
            code.load(HALF, R0, R10, self._here(6))
            code.jump_if(R0, Test.BITS, socket.htons(0x3FFF), "up")
        else:
            code.do(Operation.RIGHT, R0, 4)
            code.jump_if(R0, Test.NOT_EQUAL, 6, "up")
        self._must(BYTE, family.protocol, socket.IPPROTO_UDP)
        code.load(BYTE, R0, R10, self._here(family.hops))
        code.jump_if(R0, Test.AT_MOST, 1, "up")
        self._must(HALF, family.size + 2, socket.htons(port))
        geneve = family.size + _UDP
        code.load(WORD, R0, R10, self._here(geneve))
        code.jump_if(R0, Test.EQUAL, _native(b"\0\0\x7a\x12"), self._name("data"))
        code.jump_if(R0, Test.NOT_EQUAL, _native(b"\0\0\x7a\x11"), "up")
        code.label(self._name("data"))
        self._must(BYTE, geneve + 7, 0)

    def _check_length(self) -> None:
        """IP, UDP and the device agree on it. r7 becomes the bytes behind the UDP header."""
        code, family = self._code, self._family
        code.load(HALF, R7, R10, self._here(family.size + 4))
        code.big_endian(R7, 16)
        code.load(HALF, R1, R10, self._here(2 if family is V4 else 4))
        code.big_endian(R1, 16)
        if family is V4:
            code.do(Operation.SUB, R1, family.size)
        code.jump_if(R1, Test.NOT_EQUAL, R7, "up")
        code.jump_if(R7, Test.LESS, _UDP + _GENEVE, "up")
        code.load(WORD, R1, R6, _SKB_LENGTH)
        code.move(R2, R7)
        code.do(Operation.ADD, R2, _ETHERNET + family.size)
        code.jump_if(R1, Test.LESS, R2, "up")
        code.do(Operation.SUB, R7, _UDP)
        code.store(DOUBLE, R10, _PAYLOAD, R7)

    def _check_segments(self) -> None:
        """Packets that came as one are alike. Also notes their number and the longest."""
        code, family = self._code, self._family
        payload = _ETHERNET + family.size + _UDP
        loop, done, single = map(self._name, ("segment", "segments", "single"))
        code.move(R8, 1)
        code.load(WORD, R9, R6, _SKB_SEGMENT)
        code.jump_if(R9, Test.EQUAL, 0, single)
        code.move(R7, R9)
        code.label(loop)
        code.load(DOUBLE, R1, R10, _PAYLOAD)
        code.jump_if(R7, Test.AT_LEAST, R1, done)
        code.jump_if(R8, Test.AT_LEAST, _MAX_SEGMENTS, "up")
        code.move(R1, R6)
        code.move(R2, R7)
        code.do(Operation.ADD, R2, payload)
        self._stack(R3, _OTHER)
        code.move(R4, _GENEVE)
        code.call(_LOAD)
        code.jump_if(R0, Test.NOT_EQUAL, 0, "up")
        code.load(DOUBLE, R1, R10, _OTHER)
        code.load(DOUBLE, R2, R10, self._here(family.size + _UDP))
        code.jump_if(R1, Test.NOT_EQUAL, R2, "up")
        code.do(Operation.ADD, R7, R9)
        code.do(Operation.ADD, R8, 1)
        code.jump(loop)
        code.label(single)
        code.move(R9, R7)
        code.label(done)
        code.store(DOUBLE, R10, _COUNT, R8)
        code.do(Operation.ADD, R9, family.size + _UDP)
        code.store(DOUBLE, R10, _LONGEST, R9)

    def _check_lease(self) -> None:
        code = self._code
        code.call(_TIME)
        code.store(DOUBLE, R10, _NOW, R0)
        code.store(WORD, R10, _KEY, 0)
        self._look_up(self._maps.lease)
        code.load(DOUBLE, R1, R0, 0)
        code.load(DOUBLE, R2, R10, _NOW)
        code.jump_if(R2, Test.GREATER, R1, "up")

    def _look_up(self, descriptor: int) -> None:
        """r0 becomes what the map has under the key on the stack."""
        self._code.load_map(R1, descriptor)
        self._stack(R2, _KEY)
        self._code.call(_LOOKUP)
        self._code.jump_if(R0, Test.EQUAL, 0, "up")

    def _find_legs(self) -> None:
        code, family = self._code, self._family
        code.load(WORD, R1, R10, self._here(family.size + _UDP + 4))
        code.big_endian(R1, 32)
        code.do(Operation.RIGHT, R1, 8)
        code.store(WORD, R10, _KEY, R1)
        self._look_up(self._maps.pairs)
        code.move(R7, R0)
        code.move(R8, R7)
        code.move(R9, R7)
        code.do(Operation.ADD, R9, record.LEG_SIZE)
        self._compare_source(R8, self._name("second"))
        code.jump(self._name("found"))
        code.label(self._name("second"))
        code.move(R8, R7)
        code.do(Operation.ADD, R8, record.LEG_SIZE)
        code.move(R9, R7)
        self._compare_source(R8, "up")
        code.label(self._name("found"))

    def _compare_source(self, leg: Register, otherwise: str) -> None:
        family = self._family
        self._compare(leg, record.VERSION, None, otherwise)
        self._compare(leg, record.PEER_PORT, family.size, otherwise, HALF)
        self._compare_address(leg, record.PEER, family.source, otherwise)

    def _compare_address(self, leg: Register, field: int, offset: int, otherwise: str) -> None:
        unused = 16 - self._family.address
        for at in range(0, self._family.address, 4):
            self._compare(leg, field + unused + at, offset + at, otherwise)

    def _compare(self, leg: Register, field: int, offset: int | None, otherwise: str, size: Size = WORD) -> None:
        """A leg's field with the header's at `offset`; None: with the IP version."""
        self._code.load(size, R1, leg, field)
        if offset is None:
            self._code.jump_if(R1, Test.NOT_EQUAL, self._family.version, otherwise)
            return
        self._code.load(size, R2, R10, self._here(offset))
        self._code.jump_if(R1, Test.NOT_EQUAL, R2, otherwise)

    def _check_way(self) -> None:
        """It came to where we answer its sender; the way out is of the same IP version and lets it through whole."""
        self._compare_address(R8, record.LOCAL, self._family.destination, "up")
        self._compare(R9, record.VERSION, None, "up")
        self._code.load(WORD, R1, R9, record.MTU)
        self._code.load(DOUBLE, R2, R10, _LONGEST)
        self._code.jump_if(R2, Test.GREATER, R1, "up")

    def _check_rate(self) -> None:
        """Each packet moves the time up to which the rate is used up; what comes before that time is dropped."""
        code = self._code
        over, allowed = self._name("over"), self._name("allowed")
        code.load(DOUBLE, R3, R7, record.PER_BYTE)
        code.jump_if(R3, Test.EQUAL, 0, allowed)
        code.load(DOUBLE, R1, R10, _PAYLOAD)
        code.do(Operation.MUL, R3, R1)
        code.do(Operation.RIGHT, R3, record.SCALE_BITS)
        code.move(R2, R3)
        code.atomic_add(R7, record.USED_UNTIL, R2, fetch=True)
        code.load(DOUBLE, R4, R10, _NOW)
        code.jump_if(R2, Test.GREATER, R4, over)
        code.load(DOUBLE, R1, R7, record.BURST)
        code.do(Operation.SUB, R4, R1)
        code.jump_if(R2, Test.AT_LEAST, R4, allowed)
        code.do(Operation.SUB, R4, R2)
        code.atomic_add(R7, record.USED_UNTIL, R4)
        code.jump(allowed)
        code.label(over)
        code.negate(R3)
        code.atomic_add(R7, record.USED_UNTIL, R3)
        code.load(DOUBLE, R1, R10, _COUNT)
        code.atomic_add(R7, record.DROPPED, R1)
        code.label(self._name("drop"))
        code.move(R0, DROP)
        code.exit()
        code.label(allowed)

    def _count(self) -> None:
        code = self._code
        code.load(DOUBLE, R1, R10, _NOW)
        code.store(DOUBLE, R8, record.SEEN, R1)
        for field, value in ((record.PACKETS, _COUNT), (record.BYTES, _PAYLOAD)):
            code.load(DOUBLE, R1, R10, value)
            code.atomic_add(R8, field, R1)

    def _make_header(self) -> None:
        code, family = self._code, self._family
        unused = 16 - family.address
        for at in range(family.first, family.source, 4):
            self._copy(WORD, R10, self._here(at), at)
        code.load(BYTE, R1, R10, self._here(family.hops))
        code.do(Operation.SUB, R1, 1)
        code.store(BYTE, R10, self._new(family.hops), R1)
        for at in range(0, family.address, 4):
            self._copy(WORD, R9, record.LOCAL + unused + at, family.source + at)
            self._copy(WORD, R9, record.PEER + unused + at, family.destination + at)
        self._copy(HALF, R9, record.LOCAL_PORT, family.size)
        self._copy(HALF, R9, record.PEER_PORT, family.size + 2)

    def _copy(self, size: Size, base: Register, offset: int, to: int) -> None:
        """Into the header that leaves."""
        self._code.load(size, R1, base, offset)
        self._code.store(size, R10, self._new(to), R1)

    def _difference(self, offset: int, size: int) -> None:
        """r0 becomes the checksum of what changes in these bytes of the header."""
        self._stack(R1, self._here(offset))
        self._code.move(R2, size)
        self._stack(R3, self._new(offset))
        self._code.move(R4, size)
        self._code.move(R5, 0)
        self._code.call(_DIFFERENCE)

    def _change_checksums(self) -> None:
        code, family = self._code, self._family
        if family is V4:
            self._difference(family.first, family.size - family.first)
            self._change_ip_checksum()
        self._difference(family.source, 2 * family.address)
        code.store(DOUBLE, R10, _ADDRESSES, R0)
        self._difference(family.size, 4)
        self._change_udp_checksum(R0, _ZERO_IS_NONE)
        code.load(DOUBLE, R0, R10, _ADDRESSES)
        self._change_udp_checksum(R0, _ZERO_IS_NONE | _PSEUDO_HEADER)

    def _change_ip_checksum(self) -> None:
        """RFC 1624 section 3: the complement of the old one's complement and the difference, in ones' complement."""
        code = self._code
        code.load(HALF, R1, R10, self._here(10))
        code.do(Operation.XOR, R1, 0xFFFF)
        code.move32(R0, R0)
        code.do(Operation.ADD, R1, R0)
        for _ in range(3):
            code.move(R2, R1)
            code.do(Operation.RIGHT, R2, 16)
            code.do(Operation.AND, R1, 0xFFFF)
            code.do(Operation.ADD, R1, R2)
        code.do(Operation.XOR, R1, 0xFFFF)
        code.store(HALF, R10, self._new(10), R1)

    def _change_udp_checksum(self, difference: Register, flags: int) -> None:
        code = self._code
        code.move32(R4, difference)
        code.move(R1, R6)
        code.move(R2, _ETHERNET + self._family.size + 6)
        code.move(R3, 0)
        code.move(R5, flags)
        code.call(_L4_CHECKSUM)
        code.jump_if(R0, Test.NOT_EQUAL, 0, self._name("drop"))

    def _write_header(self) -> None:
        """The sum over the whole packet changes by the UDP checksum alone with IPv4, by the hop alone with IPv6."""
        family = self._family
        if family is V4:
            self._store(family.first, family.size + 4 - family.first, 0)
        else:
            self._store(family.first, family.size - family.first, _RECOMPUTE)
            self._store(family.size, 4, 0)

    def _store(self, offset: int, size: int, flags: int) -> None:
        code = self._code
        code.move(R1, R6)
        code.move(R2, _ETHERNET + offset)
        self._stack(R3, self._new(offset))
        code.move(R4, size)
        code.move(R5, flags)
        code.call(_STORE)
        code.jump_if(R0, Test.NOT_EQUAL, 0, self._name("drop"))

    def _send(self, mark: int) -> None:
        """The kernel looks up next hop and hardware address."""
        code = self._code
        code.move(R1, mark)
        code.store(WORD, R6, _SKB_MARK, R1)
        code.load(WORD, R1, R9, record.INTERFACE)
        for register in (R2, R3, R4):
            code.move(register, 0)
        code.call(_REDIRECT)
        code.exit()


def _native(data: bytes) -> int:
    """Network bytes as the number that a load of this host gives."""
    return int.from_bytes(data, sys.byteorder)
