"""Thin typed wrappers; the sole importer of crypto libraries. Randomness comes in as bytes, never from here."""
