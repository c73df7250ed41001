"""What a network really executes: recording, memory that is alive, pairs of operands."""
