"""Kinds of layer, one a file."""
