"""Instructions as bytes. Vectors: encodings of RFC 9669 sections 3 to 5, written out by hand, little-endian."""

import sys

import pytest

from appliance.bpf.assembler import Assembler, Operation, Register, Size, Test, program_size

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = Register

VECTORS = {
    "r0 = 0": ("b700000000000000", lambda code: code.move(R0, 0)),
    "r0 = -1": ("b7000000ffffffff", lambda code: code.move(R0, -1)),
    "r1 = 0xffffffff": ("b7010000ffffffff", lambda code: code.move(R1, 0xFFFFFFFF)),
    "r6 = r1": ("bf16000000000000", lambda code: code.move(R6, R1)),
    "w4 = w0": ("bc04000000000000", lambda code: code.move32(R4, R0)),
    "r2 += -4": ("07020000fcffffff", lambda code: code.do(Operation.ADD, R2, -4)),
    "r3 *= r1": ("2f13000000000000", lambda code: code.do(Operation.MUL, R3, R1)),
    "r1 ^= 0xffff": ("a7010000ffff0000", lambda code: code.do(Operation.XOR, R1, 0xFFFF)),
    "r1 >>= 8": ("7701000008000000", lambda code: code.do(Operation.RIGHT, R1, 8)),
    "r3 = -r3": ("8703000000000000", lambda code: code.negate(R3)),
    "r1 = be16 r1": ("dc01000010000000", lambda code: code.big_endian(R1, 16)),
    "r0 = *(u32 *)(r6 + 4)": ("6160040000000000", lambda code: code.load(Size.WORD, R0, R6, 4)),
    "r0 = *(u16 *)(r10 - 62)": ("69a0c2ff00000000", lambda code: code.load(Size.HALF, R0, R10, -62)),
    "r0 = *(u8 *)(r10 - 1)": ("71a0ffff00000000", lambda code: code.load(Size.BYTE, R0, R10, -1)),
    "r1 = *(u64 *)(r9 + 48)": ("7991300000000000", lambda code: code.load(Size.DOUBLE, R1, R9, 48)),
    "*(u32 *)(r10 - 136) = 0": ("620a78ff00000000", lambda code: code.store(Size.WORD, R10, -136, 0)),
    "*(u64 *)(r8 + 48) = r1": ("7b18300000000000", lambda code: code.store(Size.DOUBLE, R8, 48, R1)),
    "*(u8 *)(r10 - 5) = r1": ("731afbff00000000", lambda code: code.store(Size.BYTE, R10, -5, R1)),
    "lock *(u64 *)(r8 + 56) += r1": ("db18380000000000", lambda code: code.atomic_add(R8, 56, R1)),
    "r2 = fetch_add(r7 + 160, r2)": ("db27a00001000000", lambda code: code.atomic_add(R7, 160, R2, fetch=True)),
    "r1 = map 5": ("18110000050000000000000000000000", lambda code: code.load_map(R1, 5)),
    "call 26": ("850000001a000000", lambda code: code.call(26)),
    "exit": ("9500000000000000", lambda code: code.exit()),
}


@pytest.mark.skipif(sys.byteorder != "little", reason="the vectors are little-endian")
@pytest.mark.parametrize(("expected", "write"), VECTORS.values(), ids=VECTORS)
def test_ok__vectors(expected, write):
    code = Assembler()
    write(code)
    assert code.assemble().hex() == expected


@pytest.mark.skipif(sys.byteorder != "little", reason="the vectors are little-endian")
def test_ok__jumps_go_to_their_labels_both_ways():
    code = Assembler()
    code.label("top")
    code.jump_if(R0, Test.EQUAL, 0, "end")
    code.jump_if(R2, Test.GREATER, R1, "end")
    code.jump("top")
    code.label("end")
    code.exit()
    assert code.assemble().hex() == "1500020000000000" + "2d12010000000000" + "0500fdff00000000" + "9500000000000000"
    assert program_size(code.assemble()) == 4


def test_ok__a_map_counts_as_two_instructions():
    code = Assembler()
    code.jump("end")
    code.load_map(R1, 7)
    code.label("end")
    code.exit()
    assert int.from_bytes(code.assemble()[2:4], sys.byteorder) == 2


def test_fail__labels():
    code = Assembler()
    code.jump("nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        code.assemble()
    code.label("nowhere")
    with pytest.raises(ValueError, match="twice"):
        code.label("nowhere")
    far = Assembler()
    far.jump("far")
    for _ in range(33000):
        far.move(R0, 0)
    far.label("far")
    with pytest.raises(ValueError, match="too far"):
        far.assemble()


@pytest.mark.parametrize("value", [1 << 32, -(1 << 31) - 1])
def test_fail__numbers_of_more_than_32_bits(value):
    with pytest.raises(ValueError, match="32 bits"):
        Assembler().move(R0, value)
