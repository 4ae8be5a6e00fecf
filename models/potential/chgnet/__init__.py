"""CHGNet: the published weights in a network of our own.

B. Deng and others, Nature Machine Intelligence 5, 1031 (2023). The package `chgnet` carries the weights; tests hold
this network against the package's own.
"""
