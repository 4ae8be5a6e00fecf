"""The orbital density model: a promolecule, and what a network adds to it with orbitals on atoms and bonds.

After "A Recipe for Charge Density Prediction" (Fu et al., NeurIPS 2024), made O(3)-correct, local and charge-exact.
"""
