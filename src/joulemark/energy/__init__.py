"""Models and proxies of energy: what a recorded workload would cost on hardware that is not here."""
