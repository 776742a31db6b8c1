"""Reg-VQ: codes from predicted logits, a part of them sampled, held to uniform use by a prior.

Parts: straight-through on the index and Gumbel noise (`assignment`); a free table that moves with everything else, by
back-propagation; what is new is the random mask of sampled positions and the divergence of usage from the prior. The
contrastive loss, the work's third idea, needs images: it is in `impl.tokenizers.image.reg_vq`.
"""

from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.assignment import one_hot_through, with_gumbel_noise
from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.collectives import averaged, joined_rows


class RegVQ(Quantizer):
    """Regularized vector quantization (zhang2023regularized).

    A linear layer predicts K logits from the latent, without any distance. In training a random mask covers a share of
    the positions: there the code is a draw (the largest logit after Gumbel noise), elsewhere the largest logit, as at
    use. Sampling keeps codes alive, the rest keeps training like use. Forward both pick one codeword; backward both
    have the gradient of the softmax. The prior loss is the divergence of the batch's usage from the uniform one,
    sum_k u_k log(K u_k), through the same gradient: 0 where all codes are used alike, log K for a single one.

    In evaluation all codes are those of the largest logit. Training holds (N, K) probabilities.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        mask_ratio: share of positions that are sampled, in [0, 1].
        prior_weight: of the divergence, in nats.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, a ratio outside [0, 1].
    """

    def __init__(
        self, dim: int, codebook_size: int, mask_ratio: float = 0.4, prior_weight: float = 0.01
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.codebook_sizes = (codebook_size,)
        if not 0 <= mask_ratio <= 1:
            raise ValueError(f"mask_ratio must be in [0, 1], got {mask_ratio}.")
        self.mask_ratio, self.prior_weight = mask_ratio, prior_weight
        self.logits = nn.Linear(dim, codebook_size)
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords."""
        return cls(dim, 16)

    def _scores(self, vectors: Tensor) -> Tensor:
        return vectors @ self.logits.weight.to(vectors.dtype).T + self.logits.bias.to(vectors.dtype)

    def sampled_positions(self, rows: int) -> Tensor:
        """Return which of this process's vectors are sampled, (N,) bool: exactly the share of the joined batch."""
        start, total = joined_rows(rows)
        order = torch.randperm(total, device=self.codebook.device)[start : start + rows]
        return order < round(self.mask_ratio * total)

    def prior_divergence(self, indicators: Tensor) -> Tensor:
        """Return the divergence of the mean of indicators (N, K) from the uniform distribution, in nats."""
        if len(indicators) == 0:
            return indicators.sum()
        usage = averaged(indicators.mean(dim=0))
        # The small number gives a code that nothing chose a finite slope: it is pulled up.
        return (usage * torch.log(self.codebook_size * usage + 1e-10)).sum()

    @torch.no_grad()
    def displacement(self, latents: Tensor, codes: Tensor) -> Tensor:
        """Return how far a draw went: |c_k - c_best|^2 (...,) for latents (..., D) and their codes (..., 1)."""
        return (self.decode(codes) - self.decode(self.encode(latents))).square().sum(dim=-1)

    def _quantize(self, vectors: Tensor) -> Quantized:
        scores = self._scores(vectors)
        if self.training:
            sampled = self.sampled_positions(len(vectors))
            scores = torch.where(sampled[:, None], with_gumbel_noise(scores), scores)
        codes = scores.detach().argmax(dim=1)
        indicators = one_hot_through(torch.softmax(scores, dim=1), codes)
        table = self.codebook.to(vectors.dtype)
        mix = indicators @ table
        latents = table[codes].detach() + (mix - mix.detach())  # to the bit, whatever the product rounds
        return Quantized(
            latents, codes[:, None], {"prior": self.prior_weight * self.prior_divergence(indicators)}
        )

    def _encode(self, vectors: Tensor) -> Tensor:
        return self._scores(vectors).argmax(dim=1, keepdim=True)

    def _decode(self, codes: Tensor) -> Tensor:
        return self.codebook[codes[:, 0]]

    def extra_repr(self) -> str:
        """Sizes and bits, for print(module)."""
        return f"dim={self.dim}, codebook_size={self.codebook_size}, bits={self.bits:g}"
