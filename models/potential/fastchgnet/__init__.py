"""FastCHGNet: forces and stresses read off CHGNet's features, without a derivative.

The idea is that of FastCHGNet (arXiv 2412.20796); nothing of it is published but the paper, and all here is our own.
"""
