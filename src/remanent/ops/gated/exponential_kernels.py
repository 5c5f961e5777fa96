"""Exponentials of numbers at or below 0, written out for loops of Numba; importing this module imports Numba.

A call of the C library in a loop would keep the compiler from making vector instructions of it. Both types round to
within two units of the last place. Below -87, or -708 in float64, the result stays at that number's, which is normal.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from remanent.ops.cpu.kernels import compile_inline


@intrinsic
def _power_of_two(typing, shifted):
    """2 to the power of n, from n + 1.5 * 2^23, in float64 + 1.5 * 2^52, whose lowest bits are those of n."""
    is_wide = shifted == types.float64
    whole = ir.IntType(64 if is_wide else 32)
    offset, mantissa = (0x4338000000000000 - 1023, 52) if is_wide else (0x4B400000 - 127, 23)

    def generate(context, builder, signature, values):
        bits = builder.sub(builder.bitcast(values[0], whole), whole(offset))
        return builder.bitcast(builder.shl(bits, whole(mantissa)), values[0].type)

    return shifted(shifted), generate


@intrinsic(prefer_literal=True)
def constant(typing, like, value):
    """A number in the type of another."""
    given = value.literal_value if isinstance(value, types.Literal) else None

    def generate(context, builder, signature, values):
        if given is not None:
            return context.get_constant(signature.return_type, given)
        return context.cast(builder, values[1], signature.args[1], signature.return_type)

    return like(like, value), generate


def falling(x):
    """The exponential of x, which is at most 0, or NaN."""


@overload(falling, jit_options={"nogil": True, "error_model": "numpy", "forceinline": True})
def _falling(x):
    return _falling_wide if x == types.float64 else _falling_narrow


def _falling_narrow(x):
    x = constant(x, -87.0) if x < constant(x, -87.0) else x
    shifted = x * constant(x, 1.4426950408889634) + constant(x, 12582912.0)
    n = shifted - constant(x, 12582912.0)
    r = (x - n * constant(x, 0.693359375)) + n * constant(x, 2.12194440e-4)
    y = constant(x, 1.9875691500e-4) * r + constant(x, 1.3981999507e-3)
    y = y * r + constant(x, 8.3334519073e-3)
    y = y * r + constant(x, 4.1665795894e-2)
    y = y * r + constant(x, 1.6666665459e-1)
    y = y * r + constant(x, 5.0000001201e-1)
    return ((y * r) * r + r + constant(x, 1.0)) * _power_of_two(shifted)


def _falling_wide(x):
    x = -708.0 if x < -708.0 else x
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6
    y = r * 1.6059043836821613e-10 + 2.08767569878681e-09
    y = y * r + 2.505210838544172e-08
    y = y * r + 2.755731922398589e-07
    y = y * r + 2.7557319223985893e-06
    y = y * r + 2.48015873015873e-05
    y = y * r + 1.984126984126984e-04
    y = y * r + 1.388888888888889e-03
    y = y * r + 8.333333333333333e-03
    y = y * r + 4.1666666666666664e-02
    y = y * r + 1.6666666666666666e-01
    y = y * r + 0.5
    return ((y * r) * r + r + 1.0) * _power_of_two(shifted)


@compile_inline
def both_shares(u):
    """The logistic functions of u and of -u, which sum to 1, each as exact as the other."""
    one = constant(u, 1.0)
    small = falling(-abs(u))
    large = one / (one + small)
    small *= large
    is_low = u < constant(u, 0.0)
    return (small if is_low else large), (large if is_low else small)
