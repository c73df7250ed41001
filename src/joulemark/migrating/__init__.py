"""Bringing records of an older schema to the present one."""
