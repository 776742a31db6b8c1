"""Gradient paths: what the encoder is told when the decoder saw a codeword in place of its latent."""

from torch import Tensor


def straight_through(latents: Tensor, quantized: Tensor) -> Tensor:
    """Return `quantized` with the gradient of the identity to `latents` (bengio2013estimating).

    The usual x + (q - x) differs from q by a rounding error, and a decoder at work would then see other
    values than one in training; q + (x - x) is q exactly.

    Args:
        latents: (..., D), the encoder's output.
        quantized: (..., D), gets no gradient.
    """
    return quantized.detach() + (latents - latents.detach())
