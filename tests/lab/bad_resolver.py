"""A resolver that is as bad as the first label of the name says: it lies, is slow, dead, loses or flattens questions.

python bad_resolver.py 203.0.113.53 5300

The truth of every name is 198.51.100.67; lies say 198.51.100.66.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from collections import Counter

TRUTH, LIE = "198.51.100.67", "198.51.100.66"
DELAYS_S = {"lies": 0.3, "slow": 1.0}
HEAD_BYTES = 12


def answer(question: bytes, number: bytes, address: str) -> bytes:
    """A reply with one address; `question` in wire form."""
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 30, 4) + socket.inet_aton(address)
    return number + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + question + record


def question_of(query: bytes) -> bytes:
    end = query.index(0, HEAD_BYTES) + 5
    return query[HEAD_BYTES:end]


def lies_about(query: bytes) -> list[bytes]:
    number, question = query[:2], question_of(query)
    other = bytes((number[0] ^ 1, number[1]))
    forged = answer(question, other, LIE), answer(b"\5other" + question[5:], number, LIE)
    return [*forged, answer(question, number, LIE)[:20], b"x" * 40]


def main() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((sys.argv[1], int(sys.argv[2])))
    print("serving", flush=True)
    asked: Counter[bytes] = Counter()
    while True:
        query, client = sock.recvfrom(4096)
        question = question_of(query)
        kind = question[1 : 1 + question[0]].decode("ascii", "replace").lower()
        asked[question.lower()] += 1
        if kind == "dead" or (kind == "loses" and asked[question.lower()] == 1):
            continue
        for lie in lies_about(query) if kind == "lies" else []:
            sock.sendto(lie, client)
        truth = answer(question.lower() if kind == "flat" else question, query[:2], TRUTH)
        threading.Timer(DELAYS_S.get(kind, 0.0), sock.sendto, (truth, client)).start()


if __name__ == "__main__":
    main()
