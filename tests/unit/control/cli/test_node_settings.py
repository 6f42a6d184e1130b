"""What `nodes set` makes of its arguments."""

from __future__ import annotations

import click
import pytest

from control.cli.node_settings import patch_of


def test_ok__values_are_json_or_text():
    patch = patch_of(("shields_up=true", "hostname=gw-1", 'subnet_router.advertise=["192.168.1.0/24"]', "a.b.c=null"))
    assert patch == {
        "shields_up": True,
        "hostname": "gw-1",
        "plugins": {"subnet_router": {"advertise": ["192.168.1.0/24"]}, "a": {"b.c": None}},
    }


@pytest.mark.parametrize("setting", ["operator=root", "shields_up", "=x", ".x=1", "plugin.=1", "ca_file=/x"])
def test_fail__unknown_key(setting):
    with pytest.raises(click.BadParameter, match=r"shields_up=true"):
        patch_of((setting,))
