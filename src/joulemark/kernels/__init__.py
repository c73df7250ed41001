"""Operators that the runtimes lack, registered with torch.library."""
