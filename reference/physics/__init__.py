"""The physics of the reference data, measured: `python -m reference physics`."""
