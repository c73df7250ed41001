"""Bringing results of earlier versions to this one."""
