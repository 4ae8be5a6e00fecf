"""The physics and the networks. Knows no web and no queue."""
