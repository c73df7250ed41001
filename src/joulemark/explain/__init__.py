"""What one thing is, from its own file: a technique, an energy model, a backend, a meter or a net."""
