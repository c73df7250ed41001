"""Self-tests of the meters: what a counter of this machine really does, found by experiment."""
