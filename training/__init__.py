"""Training: what models learn from, how the error is measured, and the loop."""
