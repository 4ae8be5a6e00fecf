"""HTTP in, HTTP out. Never loads a network."""
