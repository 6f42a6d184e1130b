"""Errors of this plugin: there are none, a folder that cannot be read is a health item."""
