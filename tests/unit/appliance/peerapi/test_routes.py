import pytest

from appliance.peerapi.routes import PeerRoutes


async def one(_request): ...


async def two(_request): ...


def test_ok__longest_prefix_then_exact():
    routes = PeerRoutes()
    routes.add("/", one)
    routes.add("/v0/put/", one)
    routes.add("/v0/put/deep/", two)
    routes.add("/v0/wol", two)
    assert routes.find("/") is one
    assert routes.find("/v0/put/x") is one
    assert routes.find("/v0/put/deep/x") is two
    assert routes.find("/v0/wol") is two
    assert routes.find("/v0/wol/") is None
    assert routes.find("/other") is None


def test_fail__a_path_has_one_handler():
    routes = PeerRoutes()
    routes.add("/v0/wol", one)
    with pytest.raises(ValueError, match="/v0/wol"):
        routes.add("/v0/wol", two)
