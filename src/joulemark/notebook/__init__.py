"""What Python sessions and notebooks call: results that print as the command prints them, and `measure`."""
