"""Files and the frame template that every page of ours has. A page adds a style sheet and a script of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

STATIC = {
    "base.css": "text/css",
    "morph.js": "text/javascript",
    "sign_in.js": "text/javascript",
    "mark.svg": "image/svg+xml",
}
"""Media types by name."""
PAGE_STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
"""What a page brings in its own folder `static`."""
_FOLDER = Path(__file__).parent


def static_files(page_folder: Path) -> Mapping[str, tuple[bytes, str]]:
    """Content and media type, by name, of the shared files and of the page's own."""
    folders = ((_FOLDER, STATIC), (page_folder, PAGE_STATIC))
    listed = [(folder, name, kind) for folder, kinds in folders for name, kind in kinds.items()]
    return {name: ((folder / "static" / name).read_bytes(), kind) for folder, name, kind in listed}


def templates(page_folder: Path, root: str) -> Environment:
    """The page's templates, which extend `base.html`. `root`: path below which the page is served, "" for all."""
    environment = Environment(
        loader=FileSystemLoader([page_folder / "templates", _FOLDER / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["root"] = root
    return environment
