"""Gradient paths: what the encoder is told when the decoder saw a codeword in place of its latent."""

import torch
from torch import Tensor


def straight_through(latents: Tensor, quantized: Tensor) -> Tensor:
    """Return `quantized` with the gradient of the identity to `latents` (bengio2013estimating).

    The usual x + (q - x) differs from q by a rounding error, and a decoder at work would then see other
    values than one in training; q + (x - x) is q exactly.

    Args:
        latents: (..., D), the encoder's output.
        quantized: (..., D), gets no gradient.
    """
    if not latents.requires_grad:
        return quantized.detach()
    return quantized.detach() + (latents - latents.detach())


def rotate(latents: Tensor, quantized: Tensor) -> Tensor:
    """Return `quantized`; its gradient to `latents` is turned and scaled as the latent was (fifty2025restructuring).

    q = lambda R z with the rotation R that takes the direction of z to that of q in their common plane, and
    lambda = |q| / |z|. Both are held constant, so the gradient g of q arrives as lambda R' g: it makes with z the angle
    that g makes with q. With r the unit vector halfway between the two directions,
    R z = z - 2 r <r, z> + 2 q^ <z^, z>. A latent or codeword of length zero has no direction, and opposite ones have no
    halfway vector: there the gradient is straight-through.

    Args:
        latents: (..., D), the encoder's output.
        quantized: (..., D), gets no gradient.
    """
    fixed, target = latents.detach(), quantized.detach()
    length, target_length = fixed.norm(dim=-1, keepdim=True), target.norm(dim=-1, keepdim=True)
    tiny = torch.finfo(latents.dtype).eps
    direction = fixed / length.clamp(min=tiny)
    target_direction = target / target_length.clamp(min=tiny)
    halfway = direction + target_direction
    halfway_length = halfway.norm(dim=-1, keepdim=True)
    halfway = halfway / halfway_length.clamp(min=tiny)

    def along(axis: Tensor) -> Tensor:
        return (latents * axis).sum(dim=-1, keepdim=True)

    turned = latents - 2 * halfway * along(halfway) + 2 * target_direction * along(direction)
    defined = (length > tiny) & (target_length > tiny) & (halfway_length > tiny)
    path = torch.where(defined, turned * (target_length / length.clamp(min=tiny)), latents)
    return target + (path - path.detach())
