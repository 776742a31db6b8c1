"""CVQ-VAE: codes that are rarely chosen move, in every step, to features that the encoder gives now.

Parts: straight-through gradient and both losses of VQ-VAE (`nearest`), assignment by angle (`assignment`); what is new
is how the codebook moves besides (`OnlineClustering`).
"""

from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.quantizers.assignment import cosine_codes
from impl.quantizers.collectives import agreed, gathered
from impl.quantizers.nearest import NearestCodeword
from impl.quantizers.updates import batch_statistics

ANCHORS = ("random", "closest")


class OnlineClustering(nn.Module):
    """The running average of usage, and the blend of codewords with anchors that follows from it (zheng2023online).

    P_k <- g P_k + (1 - g) n_k / N is the share of vectors that choose code k, 1/K where all are chosen alike. The blend
    a_k = exp(-10 K P_k / (1 - g) - 0.001) is 0.999 for a code that nothing ever chose and practically 0 for one that
    has even a hundredth of its share: c_k <- (1 - a_k) c_k + a_k z_k, with z_k the code's anchor.

    Args:
        codebook_size: K.
        decay: g.
        anchor: "random" draws a vector of the batch for each code with probability softmax over the batch of their
            cosine; "closest" takes the one of largest cosine.
    """

    usage: Tensor

    def __init__(self, codebook_size: int, decay: float, anchor: Literal["random", "closest"]) -> None:
        super().__init__()
        if anchor not in ANCHORS:
            raise ValueError(f"anchor must be one of {', '.join(ANCHORS)}, got {anchor!r}.")
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}.")
        self.decay, self.anchor = decay, anchor
        self.register_buffer("usage", torch.zeros(codebook_size))

    def blend(self) -> Tensor:
        """Return a_k (K,), the weight of the anchor in the next codeword."""
        return torch.exp(-10 * len(self.usage) * self.usage / (1 - self.decay) - 1e-3)

    @torch.no_grad()
    def step(self, codewords: Tensor, counts: Tensor, vectors: Tensor) -> Tensor:
        """Return the codewords (K, D) after a batch (N, D) that chose the codes `counts` (K,) times."""
        joined = gathered(vectors)
        if len(joined) == 0:
            return codewords
        self.usage.lerp_(counts.to(self.usage) / counts.sum(), 1 - self.decay)
        anchors = joined[agreed(self._chosen(codewords, joined))].to(codewords)
        return torch.lerp(codewords, anchors, self.blend()[:, None].to(codewords))

    def _chosen(self, codewords: Tensor, vectors: Tensor) -> Tensor:
        """Index (K,) of each code's anchor among vectors (N, D)."""
        features, chosen = F.normalize(vectors, dim=1), []
        for block in F.normalize(codewords, dim=1).to(vectors.dtype).split(1024):
            similarity = block @ features.T
            if self.anchor == "closest":
                chosen.append(similarity.argmax(dim=1))
            else:
                chosen.append(torch.multinomial(similarity.softmax(dim=1), 1)[:, 0])
        return torch.cat(chosen)


class CVQ(NearestCodeword):
    """Vector quantization with an online clustered codebook (zheng2023online).

    Codes are chosen by angle. The codebook follows its own loss as in VQ-VAE, and after each training batch every code
    is blended with a vector of that batch, the more the less it has been used. No code stays dead, because a dead code
    is where the latents are a step later. In training, `forward` returns the codewords as they were before the move.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        commitment_weight: beta.
        decay: of the running usage.
        anchor: how a code's vector of the batch is picked, see `OnlineClustering`.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, a decay outside [0, 1), an unknown anchor.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        commitment_weight: float = 0.25,
        decay: float = 0.99,
        anchor: Literal["random", "closest"] = "random",
    ) -> None:
        super().__init__(dim, codebook_size, commitment_weight)
        self.clustering = OnlineClustering(codebook_size, decay, anchor)
        self.codebook = nn.Parameter(
            torch.empty(codebook_size, dim).uniform_(-1 / codebook_size, 1 / codebook_size)
        )

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords."""
        return cls(dim, 16)

    def codewords(self) -> Tensor:
        """Return the table (K, D) itself."""
        return self.codebook

    def assign(self, vectors: Tensor, table: Tensor) -> Tensor:
        """Return the codes (N,) of smallest angle."""
        return cosine_codes(vectors, table)

    @torch.no_grad()
    def learn(self, vectors: Tensor, codes: Tensor) -> None:
        """Blend rarely used codewords with vectors of the batch (N, D) that chose codes (N,)."""
        counts, _ = batch_statistics(vectors, codes, self.codebook_size)
        self.codebook.copy_(self.clustering.step(self.codebook, counts, vectors))
