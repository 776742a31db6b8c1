"""Binary spherical quantization: project on the unit sphere, then take the signs.

Parts: signs, integers and entropies of bits (`bits`), straight-through gradient (`gradients`); no codebook.
"""

from typing import ClassVar, Self

import torch.nn.functional as F
from torch import Tensor

from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.bits import batch_entropy, bits_to_codes, checked_bits, codes_to_signs, sample_entropy
from impl.quantizers.gradients import straight_through


class BSQ(Quantizer):
    """Binary spherical quantization (zhao2025image).

    A latent is scaled to length 1, u = z / |z|, and becomes sign(u) / sqrt(D), a corner of the cube that touches the
    sphere (0 counts as negative). Both lie on the sphere, so the error |u - q|^2 is below 2 - 2 / sqrt(D) and no
    commitment loss is needed. The soft code is a product of bits with log-odds 2 tau u_i / sqrt(D); the loss is the
    mean entropy of a sample's soft code (exact) less that of the batch's mean soft code (exact within groups of bits).
    The zero latent has no direction: it gets code 0 and no gradient.

    Args:
        dim: D, at most 62.
        inverse_temperature: tau.
        entropy_weight: of sample_weight * sample entropy - batch entropy, in nats.
        sample_weight: gamma_0 of the paper, relative to the batch entropy.
        entropy_group_size: bits a group of the batch entropy; D or more is exact.
    """

    exempt_laws: ClassVar[dict[str, str]] = {"codebook_moves": "the codebook is the fixed corners of a cube"}

    def __init__(
        self,
        dim: int,
        inverse_temperature: float = 1.0,
        entropy_weight: float = 0.1,
        sample_weight: float = 1.0,
        entropy_group_size: int = 9,
    ) -> None:
        super().__init__()
        positive_integer("entropy_group_size", entropy_group_size)
        self.dim, self.entropy_group_size = checked_bits(positive_integer("dim", dim), entropy_group_size)
        self.codebook_sizes = (2**dim,)
        if inverse_temperature <= 0:
            raise ValueError(f"inverse_temperature must be positive, got {inverse_temperature}.")
        self.inverse_temperature = inverse_temperature
        self.entropy_weight, self.sample_weight = entropy_weight, sample_weight

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 2^dim corners."""
        return cls(dim)

    def entropies(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mean entropy of a sample's soft code, entropy of the mean soft code), in nats, of unit
        vectors (N, D).
        """
        logits = 2 * self.inverse_temperature * directions / self.dim**0.5
        return sample_entropy(logits), batch_entropy(logits, self.entropy_group_size)

    def _quantize(self, vectors: Tensor) -> Quantized:
        directions = F.normalize(vectors, dim=1)
        codes = self._encode(vectors.detach())
        sample, batch = self.entropies(directions)
        losses = {"entropy": self.entropy_weight * (self.sample_weight * sample - batch)}
        corners = self._decode(codes).to(vectors.dtype)
        return Quantized(straight_through(directions, corners), codes, losses)

    def _encode(self, vectors: Tensor) -> Tensor:
        return bits_to_codes(vectors > 0)  # scaling to length 1 leaves the signs as they are

    def _decode(self, codes: Tensor) -> Tensor:
        return codes_to_signs(codes, self.dim) / self.dim**0.5

    def extra_repr(self) -> str:
        """Width and temperature, for print(module)."""
        return f"dim={self.dim}, inverse_temperature={self.inverse_temperature}"
