"""VQ-VAE's quantizer: the nearest of K learned codewords.

Parts: nearest codeword and straight-through gradient (`nearest`), a codebook that moves by its own loss or
by a moving average, started at random or by k-means, with or without revival of dead codes (`updates`,
`kmeans`).
"""

from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from impl.quantizers.kmeans import kmeans
from impl.quantizers.nearest import NearestCodeword
from impl.quantizers.updates import ExponentialMovingAverage, Revival, batch_statistics, kmeans_codewords


class VectorQuantizer(NearestCodeword):
    """Vector quantization of VQ-VAE (oord2017neural).

    A latent z becomes the nearest codeword c. The decoder sees c; the encoder gets the decoder's gradient
    unchanged and a commitment loss, mean (z - sg[c])^2 over vectors and dimensions, weighted by beta =
    0.25. The codebook follows either its own loss, mean (sg[z] - c)^2 (`update="loss"`), or the moving
    average of the latents that chose each codeword (`update="ema"`). In training, `forward` returns the
    codewords as they were before the update.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        update: "loss" or "ema".
        commitment_weight: beta, on the encoder's term and on it alone.
        decay: of the moving average.
        initialization: "uniform" in +-1/K, or "kmeans" of the first training batch.
        revival_threshold: a code chosen by fewer vectors a batch, on average, moves to a vector of the
            batch; 0 never.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, an unknown update or initialization.
    """

    codebook: Tensor
    initialized: Tensor
    updates: ClassVar[tuple[str, ...]] = ("loss", "ema")
    initializations: ClassVar[tuple[str, ...]] = ("uniform", "kmeans")

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        update: Literal["loss", "ema"] = "loss",
        commitment_weight: float = 0.25,
        decay: float = 0.99,
        initialization: Literal["uniform", "kmeans"] = "uniform",
        revival_threshold: float = 0.0,
    ) -> None:
        super().__init__(dim, codebook_size, commitment_weight)
        for name, value, legal in [
            ("update", update, self.updates),
            ("initialization", initialization, self.initializations),
        ]:
            if value not in legal:
                raise ValueError(f"{name} must be one of {', '.join(legal)}, got {value!r}.")
        codewords = torch.empty(codebook_size, dim).uniform_(-1 / codebook_size, 1 / codebook_size)
        self.average = ExponentialMovingAverage(codewords, decay) if update == "ema" else None
        # A moving average writes the table, so no optimizer may.
        self.codebook = nn.Parameter(codewords, requires_grad=self.average is None)
        self.revival = Revival(codebook_size, revival_threshold) if revival_threshold > 0 else None
        self.register_buffer("initialized", torch.tensor(initialization != "kmeans"))
        self._waits_for_data = initialization == "kmeans"

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords moved by EMA, started by k-means, with revival."""
        return cls(dim, 16, update="ema", decay=0.9, initialization="kmeans", revival_threshold=0.1)

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Set the codebook to the k-means centroids of vectors (N, D), as scikit-learn's `fit` does."""
        vectors = self._training_vectors(vectors)
        self.set_codebook(kmeans(vectors, self.codebook_size, iterations, seed))
        return self

    @torch.no_grad()
    def set_codebook(self, codewords: Tensor) -> None:
        """Replace the codewords (K, D) and start their moving averages there.

        Raises:
            ValueError: another shape.
        """
        if codewords.shape != self.codebook.shape:
            shapes = f"{tuple(self.codebook.shape)}, got {tuple(codewords.shape)}"
            raise ValueError(f"codewords must have shape {shapes}.")
        self.codebook.copy_(codewords)
        if self.average is not None:
            self.average.restart(codewords)
        self.initialized.fill_(True)
        self._waits_for_data = False

    def codewords(self) -> Tensor:
        """Return the table (K, D) itself."""
        return self.codebook

    def initialize(self, vectors: Tensor) -> None:
        """Start the codebook by k-means on the first training batch (N, D), where that was asked for."""
        if self._waits_for_data and self.training and len(vectors):
            self.set_codebook(kmeans_codewords(vectors.detach(), self.codebook_size))

    def losses(self, vectors: Tensor, codewords: Tensor) -> dict[str, Tensor]:
        """Return the commitment loss, and the codebook's own unless a moving average moves it."""
        losses = super().losses(vectors, codewords)
        if self.average is not None:
            del losses["codebook"]
        return losses

    @torch.no_grad()
    def learn(self, vectors: Tensor, codes: Tensor) -> None:
        """Move the codebook after a batch (N, D) that chose codes (N,): moving average, then revival."""
        if self.learns:
            self.absorb(*batch_statistics(vectors, codes, self.codebook_size), vectors)

    @property
    def learns(self) -> bool:
        """Whether batches move the codebook without a gradient."""
        return self.average is not None or self.revival is not None

    @torch.no_grad()
    def absorb(self, counts: Tensor, sums: Tensor, vectors: Tensor) -> None:
        """Move the codebook by the counts (K,) and sums (K, D) of all processes, and this one's vectors (N, D)."""
        codewords = self.codebook if self.average is None else self.average.step(counts, sums)
        if self.revival is not None:
            codewords, dead = self.revival.step(codewords, counts, vectors)
            if self.average is not None:
                self.average.restart(codewords, dead)
        self.codebook.copy_(codewords)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *arguments: object) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self._waits_for_data = not bool(self.initialized)
