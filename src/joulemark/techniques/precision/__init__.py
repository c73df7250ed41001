"""Techniques that use fewer bits, one paper a file."""
