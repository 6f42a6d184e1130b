"""Writes docs/plugins/hooks.md from the hook specs and `HostHandle`: `python -m tools.hook_reference [--check]`.

`--check` writes nothing and exits with 1 when the page is not up to date.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance.api import hookspecs
from appliance.api.host import HostHandle, Service
from appliance.api.values import API_VERSION, Right

PAGE = Path(__file__).resolve().parents[1] / "docs/plugins/hooks.md"
HEAD = f"""# Hooks and the host handle

Plugin API {API_VERSION}. This page is made from `appliance/api/hookspecs.py` and `appliance/api/host.py` by
`python -m tools.hook_reference`; correct it there.

"""
_BANNER = re.compile(r"^# =+\n# (?P<title>[^\n]+)\n# =+$", re.MULTILINE)
_SECTION = re.compile(r"^(Fires|Arguments|Return|Order|Raise|Budget|Added): ")


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD.rstrip(), "", *_preamble(), *_hooks(), *_handle(), *_service()]).rstrip() + "\n"


def _preamble() -> Iterator[str]:
    text = inspect.getdoc(hookspecs) or ""
    yield text.partition("\n\n")[2]
    yield ""


def _hooks() -> Iterator[str]:
    """In the order of the file, under its banners."""
    source = inspect.getsource(hookspecs)
    banners = [(match.start(), match["title"]) for match in _BANNER.finditer(source)]
    specs = sorted(
        (source.index(f"def {name}("), name) for name in vars(hookspecs) if name.startswith(hookspecs.HOOK_PREFIX)
    )
    for start, name in specs:
        while banners and banners[0][0] < start:
            yield from (f"## {banners.pop(0)[1]}", "")
        yield from _entry(name, getattr(hookspecs, name))


def _entry(name: str, function: object) -> Iterator[str]:
    text = inspect.getdoc(function) or ""
    summary, _, rest = text.partition("\n\n")
    yield from (f"### {name}", "", "```python", _signature(name, function), "```", "", summary, "")
    for line in rest.splitlines():
        match = _SECTION.match(line)
        yield f"- **{match[1]}**: {line[match.end() :]}" if match else f"  {line.strip()}".rstrip()
    yield ""


def _signature(name: str, function: object) -> str:
    signature = inspect.signature(function)  # type: ignore[arg-type]  # a function of a module that we know
    parameters = ", ".join(str(each) for key, each in signature.parameters.items() if key != "self")
    returns = signature.return_annotation
    text = f"{name}({parameters}) -> {returns if isinstance(returns, str) else 'None'}"
    return text.replace("'", "")


def _handle() -> Iterator[str]:
    yield from ("## The host handle", "", inspect.getdoc(sys.modules[HostHandle.__module__]) or "", "")
    rights = ", ".join(f"`{right}`" for right in Right)
    yield from (f"Rights that a manifest may ask for: {rights}.", "", "| Method | What it does |", "|---|---|")
    for name, method in vars(HostHandle).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            text = " ".join((inspect.getdoc(method) or "").split()).replace("|", "\\|")
            signature = _signature(name, method).replace("|", "\\|")
            yield f"| `{signature}` | {text} |"
    yield ""


def _service() -> Iterator[str]:
    yield from ("## Services", "", inspect.getdoc(Service) or "")


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.is_file() and PAGE.read_text() == text else 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
