from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import pytest

from appliance.api.settings import Bounds, Choices, Secret, SettingError, check_declared, help_texts, setting_fields
from appliance.api.values import FieldKind, SettingField


@dataclass(frozen=True)
class Place:
    city: str = ""
    """Where it stands."""
    height: float = 0.0


@dataclass(frozen=True)
class Lock:
    door: str = "front"
    password: Annotated[str, Secret()] = ""


@dataclass(frozen=True)
class Settings:
    """Not the help of any field."""

    on: bool = False
    """Do it
    at all."""
    port: Annotated[int, Bounds(1, 65535)] = 53
    way: Annotated[str, Choices(("fast", "slow"))] = "fast"
    token: Annotated[str, Secret()] = ""
    names: tuple[str, ...] = ("a",)
    apps: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"shop": ("shop.example",)})
    hosts: dict[str, str] = field(default_factory=dict)
    place: Place = Place()
    lock: Lock = Lock()
    pairs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        check_declared(self)


def test_ok__class_describes_itself() -> None:
    assert setting_fields(Settings(), helped=True) == (
        SettingField("on", FieldKind.FLAG, "Do it at all.", False),
        SettingField("port", FieldKind.NUMBER, "", 53, 1, 65535),
        SettingField("way", FieldKind.CHOICE, "", "fast", choices=("fast", "slow")),
        SettingField("token", FieldKind.TEXT, secret=True),
        SettingField("names", FieldKind.LIST, "", ["a"]),
        SettingField("apps", FieldKind.LISTS, "", {"shop": ["shop.example"]}),
        SettingField("hosts", FieldKind.TABLE, "", {}),
        SettingField("place.city", FieldKind.TEXT, "Where it stands.", ""),
        SettingField("place.height", FieldKind.DECIMAL, "", 0.0),
    ), "a table with a secret, and pairs, are for the file alone"
    assert setting_fields("no dataclass") == ()


def test_ok__secret_says_only_that_it_is_there() -> None:
    (found,) = [each for each in setting_fields(Settings(token="s3cret")) if each.secret]  # made up
    assert (found.value, found.is_set) == (None, True)
    assert "s3cret" not in repr(setting_fields(Settings(token="s3cret")))  # made up


@pytest.mark.parametrize(
    ("values", "key", "mend"),
    [
        ({"port": 0}, "port", "give a number from 1 to 65535"),
        ({"port": 65536}, "port", "give a number from 1 to 65535"),
        ({"way": "sideways"}, "way", "write one of fast, slow"),
    ],
)
def test_fail__what_was_declared_is_held(values: dict[str, object], key: str, mend: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(**values)  # type: ignore[arg-type]  # wrong ones are the point
    assert (caught.value.key, caught.value.mend) == (key, mend)


def test_ok__class_without_source_has_no_help() -> None:
    made = dataclass(frozen=True)(type("Made", (), {"__annotations__": {"a": "int"}, "a": 1}))
    assert help_texts(made) == {}
    assert setting_fields(made(), helped=True) == (SettingField("a", FieldKind.NUMBER, "", 1),)
