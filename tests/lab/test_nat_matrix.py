"""Every kind of NAT against every other, on real packets: which kind of path two gateways end on.

A row has one gateway of its kind and, as columns, one of its own and of each harder kind; the table is symmetric. A
peer relay in public is there for all, so DERP is left where UDP does not pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.nat_corners import Corner, Corners
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.namespaces import Lab

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(600)]

PATHS = {
    "D": {"direct"},
    "R": {"peer-relay"},
    "L": {"peer-relay", "direct"},  # the relay, until a hard NAT is guessed through
    "-": {"derp"},
}
#            none easy double mapped hairpin cgnat symmetric ipv6-only udp-blocked
TABLE = {
    "none": "D    D    D      D      D       D     D         D         -",
    "easy": "     D    D      D      D       D     L         R         -",
    "double": "        D      D      D       D     L         R         -",
    "mapped": "               D      D       D     D         R         -",
    "hairpin": "                     D       D     L         R         -",
    "cgnat": "                               R     L         R         -",
    "symmetric": "                                 L         R         -",
    "ipv6-only": "                                           D         -",
    "udp-blocked": "                                                   -",
}


def expected(row: Corner) -> dict[Corner, str]:
    """The cells of a row by column: from the diagonal on."""
    columns = list(Corner)[list(Corner).index(row) :]
    return dict(zip(columns, TABLE[row].split(), strict=True))


@pytest.mark.parametrize("row", list(Corner))
def test_ok__every_cell_of_the_row(lab: Lab, tmp_path: Path, row: Corner) -> None:
    cells = expected(row)
    corners = Corners(lab, tmp_path)
    own = corners.add(row)
    columns = {corners.add(column): PATHS[cell] for column, cell in cells.items()}
    corners.talk(own)
    seen: dict[str, tuple[str, str]] = {}

    def settled() -> bool:
        there = corners.kinds_of_paths(own)
        for name, wanted in columns.items():
            if there.get(name) in wanted and seen.get(name, ("",))[0] == there[name] and seen[name][1] in wanted:
                continue  # the other side was asked already
            seen[name] = (there.get(name, ""), corners.kinds_of_paths(name).get(own, ""))
        return all(set(seen[name]) <= wanted for name, wanted in columns.items())

    try:
        wait_until(settled, 150, "every path of the row to be of its kind")
    finally:
        print({name: kinds for name, kinds in seen.items()})
    for name in columns:
        address = corners.addresses[name].partition("/")[0]
        reply = corners.gateways[own].host.run("ping", "-c", "3", "-i", "0.3", "-W", "5", address, check=False)
        assert " 0% packet loss" in reply, f"{own} to {name}:\n{reply}"
