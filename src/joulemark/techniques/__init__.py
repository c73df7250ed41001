"""Techniques: one file per paper, each a function from a net to a net."""
