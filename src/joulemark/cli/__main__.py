"""``python -m joulemark.cli``."""

from joulemark.cli import main

main()
