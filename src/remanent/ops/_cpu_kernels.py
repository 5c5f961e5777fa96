"""The Numba loops behind `_cpu.py`; importing this module imports Numba.

Every array has rank 3 and is contiguous: (B, T, D), or (1, 1, D) where its rows are all the same
(its gradient is then a sum, taken in double precision). Loops release the GIL.
"""

import math

import numba
import numpy as np

_compile = numba.njit(nogil=True, cache=True, error_model="numpy")


@_compile
def latch_forward(candidate, threshold, alpha, h0, reset, reset_state, epsilon, states):  # type: ignore[no-untyped-def]
    B, T, D = candidate.shape
    threshold_moves = threshold.shape[0] * threshold.shape[1] == B * T
    alpha_moves = alpha.shape[0] * alpha.shape[1] == B * T
    for b in range(B):
        previous = h0[b, 0]
        for t in range(T):
            c = candidate[b, t]
            beta = threshold[b, t] if threshold_moves else threshold[0, 0]
            scale = alpha[b, t] if alpha_moves else alpha[0, 0]
            h = states[b, t]
            if reset.size > 0 and reset[b, t]:
                previous = reset_state[0, 0]
            if epsilon == 0:
                for d in range(D):
                    held = previous[d]  # loaded whether needed or not: a conditional load stops vectorisation
                    written = scale[d] if c[d] >= 0 else -scale[d]
                    h[d] = written if abs(c[d]) >= abs(beta[d]) else held
            else:
                for d in range(D):
                    held = previous[d]
                    written = (scale[d] if c[d] >= 0 else -scale[d]) + epsilon * held
                    h[d] = written if abs(c[d]) >= abs(beta[d]) else held
            previous = h


@_compile
def latch_backward(  # type: ignore[no-untyped-def]
    grad,
    states,
    candidate,
    threshold,
    alpha,
    h0,
    reset,
    reset_state,
    epsilon,
    width,
    grad_candidate,
    grad_threshold,
    grad_alpha,
    grad_h0,
    grad_reset_state,
):
    B, T, D = candidate.shape
    threshold_moves = threshold.shape[0] * threshold.shape[1] == B * T
    alpha_moves = alpha.shape[0] * alpha.shape[1] == B * T
    threshold_sum, alpha_sum, reset_sum = np.zeros(D), np.zeros(D), np.zeros(D)
    threshold_row, alpha_row = np.empty_like(h0[0, 0]), np.empty_like(h0[0, 0])
    for b in range(B):
        carry = grad_h0[b, 0]
        carry[:] = 0
        for t in range(T - 1, -1, -1):
            fresh = reset.size > 0 and reset[b, t]
            previous = reset_state[0, 0] if fresh else (states[b, t - 1] if t > 0 else h0[b, 0])
            _latch_backward_row(
                grad[b, t],
                previous,
                candidate[b, t],
                threshold[b, t] if threshold_moves else threshold[0, 0],
                alpha[b, t] if alpha_moves else alpha[0, 0],
                epsilon,
                width,
                carry,
                grad_candidate[b, t],
                grad_threshold[b, t] if threshold_moves else threshold_row,
                grad_alpha[b, t] if alpha_moves else alpha_row,
            )
            if not threshold_moves:
                threshold_sum += threshold_row
            if not alpha_moves:
                alpha_sum += alpha_row
            if fresh:
                reset_sum += carry
                carry[:] = 0
    if not threshold_moves:
        grad_threshold[0, 0, :] = threshold_sum
    if not alpha_moves:
        grad_alpha[0, 0, :] = alpha_sum
    grad_reset_state[0, 0, :] = reset_sum


@_compile
def _latch_backward_row(  # type: ignore[no-untyped-def]
    grad,
    previous,
    candidate,
    threshold,
    alpha,
    epsilon,
    width,
    carry,
    grad_candidate,
    grad_threshold,
    grad_alpha,
):
    real = candidate.dtype.type
    zero, one, two = real(0), real(1), real(2)
    slope = real(math.pi) * width
    for d in range(candidate.shape[0]):
        c, beta, scale, p = candidate[d], threshold[d], alpha[d], previous[d]
        adjoint = grad[d] + carry[d]
        sign = one if c >= zero else -one
        write = abs(c) >= abs(beta)
        u = slope * (abs(c) - abs(beta))
        v = slope * c
        through_gate = adjoint * (scale * sign + epsilon * p - p) * (width / (one + u * u))
        through_sign = two * adjoint * scale * (width / (one + v * v))
        candidate_sign = one if c > zero else (-one if c < zero else zero)
        beta_sign = one if beta > zero else (-one if beta < zero else zero)
        grad_candidate[d] = through_gate * candidate_sign + (through_sign if write else zero)
        grad_threshold[d] = -through_gate * beta_sign
        grad_alpha[d] = adjoint * sign if write else zero
        carry[d] = (epsilon * adjoint if epsilon != zero else zero) if write else adjoint


@_compile
def linear_forward(decay, value, h0, reset, reset_state, states):  # type: ignore[no-untyped-def]
    B, T, D = value.shape
    decay_moves = decay.shape[0] * decay.shape[1] == B * T
    for b in range(B):
        previous = h0[b, 0]
        for t in range(T):
            a = decay[b, t] if decay_moves else decay[0, 0]
            v = value[b, t]
            h = states[b, t]
            if reset.size > 0 and reset[b, t]:
                previous = reset_state[0, 0]
            for d in range(D):
                h[d] = a[d] * previous[d] + v[d]
            previous = h


@_compile
def linear_backward(  # type: ignore[no-untyped-def]
    grad, states, decay, h0, reset, reset_state, grad_decay, grad_value, grad_h0, grad_reset_state
):
    B, T, D = grad.shape
    decay_moves = decay.shape[0] * decay.shape[1] == B * T
    decay_row = np.zeros_like(h0[0, 0])
    decay_sum, reset_sum = np.zeros(D) + decay_row, np.zeros(D) + decay_row
    for b in range(B):
        carry = grad_h0[b, 0]
        carry[:] = 0
        for t in range(T - 1, -1, -1):
            fresh = reset.size > 0 and reset[b, t]
            previous = reset_state[0, 0] if fresh else (states[b, t - 1] if t > 0 else h0[b, 0])
            a = decay[b, t] if decay_moves else decay[0, 0]
            g, grad_a, grad_v = grad[b, t], grad_decay[b, t] if decay_moves else decay_row, grad_value[b, t]
            for d in range(D):
                adjoint = g[d] + carry[d]
                grad_v[d] = adjoint
                grad_a[d] = adjoint * np.conj(previous[d])
                carry[d] = adjoint * np.conj(a[d])
            if not decay_moves:
                decay_sum += decay_row
            if fresh:
                reset_sum += carry
                carry[:] = 0
    if not decay_moves:
        grad_decay[0, 0, :] = decay_sum
    grad_reset_state[0, 0, :] = reset_sum
