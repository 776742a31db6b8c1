"""The gradient of direct loss minimisation: what the chosen codeword would be if the latent lay a little uphill."""

import torch
from torch import Tensor

from impl.quantizers.lookup import nearest_codes


def direct_loss(vectors: Tensor, codewords: Tensor, codes: Tensor, epsilon: float | Tensor) -> Tensor:
    """Return the codewords (N, D) of codes (N,) with the gradient of direct loss minimisation.

    The code k* of a vector x is the one of the largest score s_k = <x, c_k> - |c_k|^2 / 2, the nearest codeword. For a
    loss l_k of the codes, the gradient of the expected loss is the limit, for e to 0, of that of
    (s_k' - s_k*) / e, where k' has the largest s + e l. The loss is linear here: l_k = <g, c_k> with the gradient g
    that arrives at the codeword; and e is epsilon / |g|, so that neither the scale of the loss nor the size of the
    batch matters. Then k' is the codeword nearest to x + epsilon g / |g|, and

        dl / dx = |g| (c_k' - c_k*) / epsilon,

    the finite difference of the quantizer itself where straight-through puts the identity. The codewords, which are
    in the scores too, receive |g| (x - c_k') / epsilon and the negative of the same for k*, beside g for the one that
    was chosen.

    Args:
        vectors: x, (N, D).
        codewords: c, (K, D).
        codes: k*, (N,) int64.
        epsilon: how far uphill, positive, in the units of the vectors. Small is unbiased, and mostly zero.
    """
    return _DirectLoss.apply(vectors, codewords, codes, epsilon)


class _DirectLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        context, vectors: Tensor, codewords: Tensor, codes: Tensor, epsilon: float | Tensor
    ) -> Tensor:
        """Return the codewords (N, D) of codes (N,)."""
        context.save_for_backward(vectors, codewords, codes)
        context.epsilon = epsilon
        return codewords[codes]

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Return the gradients of the surrogate for vectors (N, D) and codewords (K, D), from how the codes change when
        each vector is moved by epsilon along the gradient (N, D) of its codeword.
        """
        vectors, codewords, codes = context.saved_tensors
        lengths = gradient.norm(dim=1, keepdim=True)
        uphill = gradient / lengths.clamp(min=torch.finfo(gradient.dtype).tiny)
        moved = nearest_codes(vectors + context.epsilon * uphill, codewords)
        # Exactly nothing where the code stays: what is added and taken away again would not cancel in rounding.
        weights = lengths / context.epsilon * (moved != codes)[:, None]
        to_vectors = weights * (codewords[moved] - codewords[codes])
        to_codewords = torch.zeros_like(codewords)
        to_codewords.index_add_(0, codes, gradient - weights * (vectors - codewords[codes]))
        to_codewords.index_add_(0, moved, weights * (vectors - codewords[moved]))
        return to_vectors, to_codewords, None, None
