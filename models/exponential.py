"""The exponential of a float32, for loops that compiled kernels run in lanes."""

import numpy as np
from numba import njit

_LARGEST = np.float32(40)
"""Its exponential beside one is nothing in float32, and products of two such are still far from the least number."""

_LOG2_E = np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_ROUNDS = np.float32(1.5 * 2**23)
"""The sum of a small number and this is rounded to a whole one, which its last bits hold."""

_C0, _C1, _C2 = np.float32(0.5), np.float32(1.6666665459e-1), np.float32(4.1665795894e-2)
_C3, _C4, _C5 = np.float32(8.3334519073e-3), np.float32(1.3981999507e-3), np.float32(1.9875691500e-4)
_ONE = np.float32(1)
_EXPONENT = np.int32(23)
_BIAS = np.int32(127)


# Without "reassoc", which would take the rounding out.
@njit(fastmath={"contract"}, error_model="numpy", cache=True)
def exponential(x):
    r"""Exponential of a float32 between -40 and 40, of the nearer end beyond them, and NaN of NaN.

    .. math:: e^x = 2^n e^r, \qquad n = \mathrm{round}(x / \ln 2), \quad |r| \le \tfrac{1}{2} \ln 2

    with the polynomial for e^r of S. Moshier's Cephes library. Unlike the C library's it has no branch, so that loops
    over it run in lanes.
    """
    x = _LARGEST if x > _LARGEST else x
    x = -_LARGEST if x < -_LARGEST else x
    shifted = x * _LOG2_E + _ROUNDS
    n = shifted - _ROUNDS
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = ((((_C5 * r + _C4) * r + _C3) * r + _C2) * r + _C1) * r + _C0
    p = p * r * r + r + _ONE
    bits = np.int32((np.float32(shifted).view(np.int32) + _BIAS) << _EXPONENT)
    return p * np.int32(bits).view(np.float32)
