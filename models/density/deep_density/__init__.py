"""Deep Density: a density that is a background of spherical atoms, and what a network of local clusters adds to it.

After "Deep Density: circumventing the Kohn-Sham equations via symmetry preserving neural networks" (Zepeda-Núñez et
al., arXiv:1912.00775), from its abstract: layers, cut-offs and angular channels are our own.
"""
