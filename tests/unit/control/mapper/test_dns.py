"""DNS configuration of the map."""

from __future__ import annotations

from appliance.proto.control import messages as wire
from control.mapper.dns import dns_config
from control.mapper.settings import DnsRecord, DnsSettings


def addresses(resolvers: list[wire.Resolver] | None) -> list[str]:
    return [one.addr for one in resolvers or []]


def test_ok__plain_magic_dns() -> None:
    config = dns_config("mesh.test", DnsSettings())
    assert config.proxied
    assert config.domains == ["mesh.test"]
    assert config.routes["mesh.test"] == config.routes["64.100.in-addr.arpa"] == []
    assert (config.resolvers, config.fallback_resolvers, config.cert_domains) == ([], [], [])


def test_ok__everything_that_an_operator_may_set() -> None:
    settings = DnsSettings(
        nameservers=("9.9.9.9",),
        use_with_exit_node=True,
        split={"corp.example": ("10.0.0.53", "10.0.1.53")},
        search=("corp.example",),
        records=(DnsRecord("printer.mesh.test", "A", "192.0.2.9"),),
        exit_filtered=(".internal",),
    )
    config = dns_config("mesh.test", settings, ["a.mesh.test"])
    assert config.resolvers == [wire.Resolver(addr="9.9.9.9", use_with_exit_node=True)]
    assert addresses(config.routes["corp.example"]) == ["10.0.0.53", "10.0.1.53"]
    assert config.domains == ["mesh.test", "corp.example"]
    assert config.extra_records == [wire.DnsRecord(name="printer.mesh.test", type="A", value="192.0.2.9")]
    assert config.exit_node_filtered_set == [".internal"]
    assert config.cert_domains == ["a.mesh.test"]


def test_ok__the_network_s_own_resolvers_may_win() -> None:
    config = dns_config("mesh.test", DnsSettings(nameservers=("9.9.9.9",), override_local=False))
    assert config.resolvers == []
    assert addresses(config.fallback_resolvers) == ["9.9.9.9"]


def test_ok__without_magic_dns() -> None:
    config = dns_config("mesh.test", DnsSettings(magic=False, split={"corp.example": ("10.0.0.53",)}))
    assert not config.proxied
    assert config.domains == []
    assert list(config.routes) == ["corp.example"]
