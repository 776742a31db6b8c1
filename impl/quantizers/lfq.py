"""Lookup-free quantization: the sign of each channel is one bit of the code.

Parts: signs, integers and entropies of bits (`bits`), straight-through gradient (`gradients`); no codebook.
"""

from typing import ClassVar, Self

from torch import Tensor

from impl.quantizers.base import Quantized, Quantizer, mean_square, positive_integer
from impl.quantizers.bits import batch_entropy, bits_to_codes, checked_bits, codes_to_signs, sample_entropy
from impl.quantizers.gradients import straight_through


class LFQ(Quantizer):
    """Lookup-free quantization of MAGVIT-v2 (yu2024language).

    The codebook is {-1, +1}^D: a latent becomes its signs (0 counts as negative) and the code is their binary number,
    so 2^D codes cost nothing to hold or search. A soft code softmax(2 <z, c> / tau) measures how sure and how varied
    the codes are: the loss lowers the mean entropy of a sample's soft code and raises the entropy of the batch's mean
    soft code. A negative sum of losses is normal. The first entropy is exact, the second exact within groups of bits
    (`bits`).

    Args:
        dim: D, at most 62.
        temperature: tau of the soft code; bit i has log-odds 4 z_i / tau.
        entropy_weight: of (sample entropy - batch entropy), in nats.
        commitment_weight: of mean (z - sg[q])^2.
        entropy_group_size: bits a group of the batch entropy; D or more is exact.
    """

    exempt_laws: ClassVar[dict[str, str]] = {"codebook_moves": "the codebook is the fixed cube {-1, +1}^D"}

    def __init__(
        self,
        dim: int,
        temperature: float = 1.0,
        entropy_weight: float = 0.1,
        commitment_weight: float = 0.25,
        entropy_group_size: int = 9,
    ) -> None:
        super().__init__()
        positive_integer("entropy_group_size", entropy_group_size)
        self.dim, self.entropy_group_size = checked_bits(positive_integer("dim", dim), entropy_group_size)
        self.codebook_sizes = (2**dim,)
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}.")
        self.temperature = temperature
        self.entropy_weight, self.commitment_weight = entropy_weight, commitment_weight

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 2^dim codes."""
        return cls(dim)

    def entropies(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mean entropy of a sample's soft code, entropy of the mean soft code) of vectors (N, D),
        in nats.
        """
        logits = 4 * vectors / self.temperature
        return sample_entropy(logits), batch_entropy(logits, self.entropy_group_size)

    def _quantize(self, vectors: Tensor) -> Quantized:
        bits = vectors.detach() > 0
        signs = bits.to(vectors.dtype) * 2 - 1
        sample, batch = self.entropies(vectors)
        losses = {
            "commitment": self.commitment_weight * mean_square(vectors - signs),
            "entropy": self.entropy_weight * (sample - batch),
        }
        return Quantized(straight_through(vectors, signs), bits_to_codes(bits), losses)

    def _encode(self, vectors: Tensor) -> Tensor:
        return bits_to_codes(vectors > 0)

    def _decode(self, codes: Tensor) -> Tensor:
        return codes_to_signs(codes, self.dim)

    def extra_repr(self) -> str:
        """Width and entropy settings, for print(module)."""
        return f"dim={self.dim}, temperature={self.temperature}, entropy_weight={self.entropy_weight}"
