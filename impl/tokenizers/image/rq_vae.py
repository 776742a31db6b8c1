"""RQ-VAE: VQGAN's networks and losses around residual codes that share one codebook.

Parts: VQGAN (`vqgan`), residual VQ with a shared codebook moved by EMA (`quantizers.rvq`).
"""

from typing import Any, ClassVar

from impl.quantizers.rvq import ResidualVQ
from impl.tokenizers.image.vqgan import VQGAN


class RQVAE(VQGAN):
    """RQ-VAE (lee2022autoregressive), the tokenizer: images (B, C, H, W) to codes (B, h, w, D).

    Every position is coded D times, each time what is left, with the same K codewords. Residual VQ's commitment of
    every residual to its codeword is the paper's commitment of the latent to every partial sum: the two differ by
    nothing, as a residual is the latent minus the sum so far.

    Args:
        dim: of latents and codewords.
        codebook_size: K.
        num_codebooks: D, the depth.
        numbers: others of `VQGAN`.
    """

    part_of: ClassVar[str] = "rq-transformer"
    #: 4 x 4 positions of 16 x 16 pixels, 4 codes of 64 each.
    SMALL: ClassVar[dict[str, Any]] = {
        **VQGAN.SMALL,
        "dim": 16,
        "width": 16,
        "num_codebooks": 4,
        "adversarial_start": 10**9,
    }

    def __init__(self, dim: int, codebook_size: int, num_codebooks: int, **numbers: Any) -> None:
        super().__init__(dim=dim, codebook_size=codebook_size, **numbers)
        self.quantizer = ResidualVQ(
            dim,
            codebook_size,
            num_codebooks,
            shared=True,
            update="ema",
            initialization="kmeans",
            revival_threshold=0.1,
        )
