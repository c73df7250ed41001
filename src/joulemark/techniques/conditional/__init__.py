"""Techniques that compute less for easy inputs, one paper a file."""
