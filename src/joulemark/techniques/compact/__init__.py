"""Smaller architectures, trained from scratch, one paper a file."""
