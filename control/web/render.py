"""Pure: values in, HTML out. The page is a set of sections, so that a live page replaces only those that changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment

from appliance.pages.assets import static_files, templates
from appliance.pages.words import span

if TYPE_CHECKING:
    from control.web.overview import Overview

ROOT = "/status"
SECTIONS = ("state", "nodes", "derp", "counters")
_FOLDER = Path(__file__).parent
PARTS = {"derp": "DERP", "stun": "STUN", "http": "HTTP", "front": "HTTP", "noise": "Noise", "page": "Status page"}
"""What the parts that count are called."""


@cache
def static() -> Mapping[str, tuple[bytes, str]]:
    """Content and media type of the page's files, by name."""
    return static_files(_FOLDER)


def sections(shown: Overview) -> dict[str, str]:
    template = _templates().get_template
    return {name: template(f"section_{name}.html").render(shown=shown) for name in SECTIONS}


def page(shown: Overview) -> str:
    return _templates().get_template("page.html").render(shown=shown, sections=sections(shown))


def sign_in(problem: str = "") -> str:
    return _templates().get_template("sign_in.html").render(problem=problem)


def refusal(text: str, mend: str) -> str:
    return _templates().get_template("refusal.html").render(text=text, mend=mend)


def ago(moment: datetime, now: datetime) -> str:
    """ "5 minutes ago"."""
    return f"{span(now - moment)} ago"


@cache
def _templates() -> Environment:
    environment = templates(_FOLDER, ROOT)
    environment.filters["ago"] = ago
    environment.globals["parts"] = PARTS
    return environment
