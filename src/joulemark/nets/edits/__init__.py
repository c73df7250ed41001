"""Edits: structural changes of a built network, one a file."""
