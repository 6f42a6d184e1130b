from appliance.daemon.stun_servers import stun_servers
from appliance.types.ids import RegionId
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion


def region(number: int, **changes: object) -> DerpRegion:
    values: dict[str, object] = {"ipv4": f"203.0.113.{number}", "ipv6": "none"}
    node = DerpNode(f"{number}a", RegionId(number), "localhost", **{**values, **changes})  # type: ignore[arg-type]  # as given
    return DerpRegion(RegionId(number), f"r{number}", f"R{number}", (node,))


def derp_map(*regions: DerpRegion) -> DerpMap:
    return DerpMap({each.id: each for each in regions})


async def test_ok__home_first_with_the_port_of_each() -> None:
    found = await stun_servers(derp_map(region(1), region(2, stun_port=99), region(3, stun_port=-1)), RegionId(2))
    assert found == ("203.0.113.2:99", "203.0.113.1:3478")


async def test_ok__a_name_is_looked_up() -> None:
    found = await stun_servers(derp_map(region(1, ipv4="", ipv6="")), RegionId(1))
    assert "127.0.0.1:3478" in found or "[::1]:3478" in found
