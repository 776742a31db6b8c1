"""IBQ: the gradient goes through the index, so all codewords learn in every step.

Parts: assignment by largest inner product and straight-through on the index (`assignment`), entropies over codes
(`entropies`); the codebook is a free table that moves with everything else, by back-propagation.
"""

from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.assignment import inner_product_codes, one_hot_through
from impl.quantizers.base import Quantized, Quantizer, mean_square, positive_integer
from impl.quantizers.entropies import entropy_of_mean, mean_entropy


class IBQ(Quantizer):
    """Index backpropagation quantization (shi2024scalable).

    The code of z is that of largest logit <z, c_k>. Forward, the indicator of that code picks its codeword; backward,
    the indicator has the gradient of p = softmax(logits), so the decoder's gradient reaches the encoder through the
    logits and every codeword through p. With e the indicator times the table (that gradient path included) the losses
    are mean (e - z)^2 + mean (sg[c] - z)^2 + beta mean (c - sg[z])^2, and an entropy term on softmax(logits / tau):
    mean entropy of a sample minus entropy of the mean. Training holds (N, K) probabilities.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        codebook_weight: beta, here on the codebook's term and on it alone.
        entropy_weight: of the entropy term, in nats.
        entropy_temperature: tau of the entropy term.
        codebook_deviation: standard deviation of the normal codewords at the start. Inner products scale with it: for
            small D they are few codes' game when it is large.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, a temperature or deviation that is not positive.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        codebook_weight: float = 0.25,
        entropy_weight: float = 0.05,
        entropy_temperature: float = 0.01,
        codebook_deviation: float = 1.0,
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.codebook_sizes = (codebook_size,)
        for name, value in [
            ("entropy_temperature", entropy_temperature),
            ("codebook_deviation", codebook_deviation),
        ]:
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}.")
        self.codebook_weight = codebook_weight
        self.entropy_weight, self.entropy_temperature = entropy_weight, entropy_temperature
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim) * codebook_deviation)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords."""
        return cls(dim, 16)

    def _quantize(self, vectors: Tensor) -> Quantized:
        table = self.codebook.to(vectors.dtype)
        logits = vectors @ table.T
        codes = inner_product_codes(vectors.detach(), table.detach())
        codewords = table[codes]
        mix = one_hot_through(torch.softmax(logits, dim=1), codes) @ table
        latents = codewords.detach() + (
            mix - mix.detach()
        )  # the codeword to the bit, whatever the product rounds
        sharp = logits / self.entropy_temperature
        entropy = mean_entropy(sharp) - entropy_of_mean(torch.softmax(sharp, dim=1))
        losses = {
            "double_quantization": mean_square(latents - vectors),
            "commitment": mean_square(codewords.detach() - vectors),
            "codebook": self.codebook_weight * mean_square(codewords - vectors.detach()),
            "entropy": self.entropy_weight * entropy,
        }
        return Quantized(latents, codes[:, None], losses)

    def _encode(self, vectors: Tensor) -> Tensor:
        return inner_product_codes(vectors, self.codebook.to(vectors.dtype))[:, None]

    def _decode(self, codes: Tensor) -> Tensor:
        return self.codebook[codes[:, 0]]

    def extra_repr(self) -> str:
        """Sizes and bits, for print(module)."""
        return f"dim={self.dim}, codebook_size={self.codebook_size}, bits={self.bits:g}"
