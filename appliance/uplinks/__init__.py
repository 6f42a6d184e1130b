"""Several ways to the Internet at once: each is measured, the best by policy carries the underlay."""
