"""What this machine is, whether it is quiet, time limits, atomic files."""
