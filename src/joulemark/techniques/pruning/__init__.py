"""Techniques that remove weights, filters or channels, one paper a file."""
