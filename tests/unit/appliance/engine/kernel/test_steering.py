import shutil
import subprocess

import pytest

from appliance.engine.kernel.steering import TABLE, steering_document, unsteering_document


def test_ok__replaces_what_was_there_in_one_transaction() -> None:
    lines = steering_document(41641, 50001, "waypost0").splitlines()
    assert lines[:2] == [f"table inet {TABLE}", f"delete table inet {TABLE}"]
    assert unsteering_document().splitlines() == lines[:2]


def test_ok__wireguard_stays_and_nothing_reaches_the_inner_port_from_outside() -> None:
    text = steering_document(41641, 50001, "waypost0")
    assert "udp dport 41641 @th,64,32 & 0xf8ffffff != 0 fib daddr type local udp dport set 50001 notrack" in text
    assert "udp sport 50001 udp sport set 41641 notrack" in text
    assert text.index("dport 50001 fib daddr type local drop") < text.index("dport set 50001")


@pytest.mark.parametrize("document", [steering_document(41641, 50001, "waypost0"), unsteering_document()])
def test_ok__nft_understands_it(document: str) -> None:
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin")
    assert nft is not None
    command = ["unshare", "--user", "--map-root-user", "--net", nft, "-c", "-f", "-"]
    done = subprocess.run(command, input=document, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
