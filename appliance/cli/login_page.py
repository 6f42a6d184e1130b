"""Shows the address of a login page: as text, and on a terminal as a QR code for a phone."""

from __future__ import annotations

import io

import segno


def describe(url: str, *, qr: bool) -> str:
    """What a person reads."""
    text = f"To log in, open this page, or give its address to an administrator of the mesh:\n\n  {url}\n"
    return f"{text}\n{qr_text(url)}" if qr else text


def qr_text(url: str) -> str:
    """The code in half blocks, two rows a line; for a dark or a light terminal alike, since its border is drawn."""
    drawn = io.StringIO()
    segno.make(url, error="l").terminal(drawn, border=2, compact=True)
    return drawn.getvalue().rstrip("\n")
