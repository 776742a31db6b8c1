"""The shared part of residual quantizers whose codewords are made by a network from what was decoded so far."""

from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from impl.quantizers.adam import adam
from impl.quantizers.additive import residual_codebooks
from impl.quantizers.base import Quantized, Quantizer, mean_square, positive_integer
from impl.quantizers.gradients import straight_through

#: Numbers of the codewords that are made at once in encoding.
BLOCK = 2**20


class ImplicitCodebooks(Quantizer):
    """M stages; codeword k of stage m is f_m(c_{m,k}, x^_{m-1}), a network of a base codeword and of the sum so far.

    The first stage is a plain table. `fit` brings vectors to mean 0 and spread 1, starts the base tables from residual
    k-means and takes Adam steps on the mean over stages of |x - x^_m|^2; the codes of a batch are found anew in every
    step and pass no gradient. Every prefix of the codes decodes.

    A method makes the networks and may narrow the search (`candidates`, `width`).

    Args:
        dim: D.
        codebook_size: K, the same for each stage.
        num_codebooks: M.
        make_network: builds f_m: (codewords (..., D), sums (..., D)) -> codewords (..., D), untrained.
        steps: of `fit`.
        learning_rate: of `fit`.
        commitment_weight: beta, inside an autoencoder.
    """

    part_of: ClassVar[str] = "the shared part of residual quantizers with neural codebooks"
    partial_codes: ClassVar[bool] = False

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        make_network: Callable[[], nn.Module],
        steps: int,
        learning_rate: float,
        commitment_weight: float,
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.num_codebooks = positive_integer("num_codebooks", num_codebooks)
        self.codebook_sizes = (positive_integer("codebook_size", codebook_size),) * num_codebooks
        self.steps, self.learning_rate = positive_integer("steps", steps, least=0), learning_rate
        self.commitment_weight = commitment_weight
        # Later stages start smaller, as residuals are.
        scales = 2.0 ** -torch.arange(num_codebooks)[:, None, None]
        self.base = nn.Parameter(torch.randn(num_codebooks, codebook_size, dim) * scales / dim**0.5)
        self._make_network = make_network
        self.networks = nn.ModuleList(make_network() for _ in range(num_codebooks - 1))
        self.width = 1
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Learn from vectors (N, D).

        Args:
            vectors: (N, D), at least one.
            iterations: of the k-means at the start; the number of Adam steps is the constructor's.
                seed: of the networks' weights, of the k-means and of the order of the batches.

        Raises:
            ValueError: a wrong width, NaN, Inf, or no vectors.
        """
        vectors = self._training_vectors(vectors)
        self.mean.copy_(vectors.mean(dim=0))
        self.scale.copy_((vectors - vectors.mean(dim=0)).square().mean().sqrt().clamp(min=1e-8))
        scaled = self._scaled(vectors)
        self._renew_networks(seed)
        self.start(residual_codebooks(scaled, self.codebook_sizes[0], self.num_codebooks, iterations, seed))

        def loss(rows: Tensor) -> Tensor:
            with torch.no_grad():
                codes = self._codes(scaled[rows])
            return self.stage_losses(scaled[rows], codes).mean()

        adam(self.parameters(), loss, len(vectors), self.steps, 256, self.learning_rate, seed)
        return self

    def _renew_networks(self, seed: int) -> None:
        """Give the networks fresh weights, so that `fit` forgets what was learned before it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for network in self.networks:
                network.load_state_dict(self._make_network().state_dict())

    def start(self, codebooks: Tensor) -> None:
        """Set the base tables (M, K, D)."""
        self.base.copy_(codebooks)

    def codewords(self, stage: int, sums: Tensor, codes: Tensor) -> Tensor:
        """Return the codewords (..., D) of stage `stage` for codes (...), given the sums so far (..., D)."""
        base = self.base[stage][codes].to(sums.dtype)
        return self.networks[stage - 1](base, sums) if stage else base

    def candidates(self, stage: int, residuals: Tensor) -> Tensor:
        """Return the codes (N, B, A) that are tried for residuals (N, B, D): here all K."""
        every = torch.arange(self.codebook_sizes[0], device=residuals.device)
        return every.expand(*residuals.shape[:2], -1)

    def prefixes(self, codes: Tensor) -> list[Tensor]:
        """Return x^_1, ..., x^_m (N, D), scaled, of codes (N, m): what every prefix stands for."""
        total, sums = torch.zeros(len(codes), self.dim, device=codes.device), []
        for stage, column in enumerate(codes.unbind(1)):
            total = total + self.codewords(stage, total, column)
            sums.append(total)
        return sums

    def stage_losses(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """Return mean |x - x^_m|^2 (M,) of scaled vectors (N, D) with codes (N, M)."""
        return torch.stack([mean_square(vectors - prefix) for prefix in self.prefixes(codes)])

    @torch.no_grad()
    def _codes(self, vectors: Tensor) -> Tensor:
        """Return codes (N, M) of scaled vectors, keeping `width` partial sums."""
        rows = max(1, BLOCK // (self.width * self.codebook_sizes[0] * self.dim))
        found = [self._search(block) for block in vectors.split(rows)]
        return torch.cat(found) if found else vectors.new_zeros(0, self.num_codebooks).long()

    def _search(self, vectors: Tensor) -> Tensor:
        sums = torch.zeros_like(vectors)[:, None]
        paths = torch.empty(len(vectors), 1, 0, dtype=torch.int64, device=vectors.device)
        for stage in range(self.num_codebooks):
            residuals = vectors[:, None] - sums
            codes = self.candidates(stage, residuals)
            tried = sums[:, :, None] + self.codewords(stage, sums[:, :, None].expand(*codes.shape, -1), codes)
            errors = (vectors[:, None, None] - tried).square().sum(dim=-1).flatten(1)
            # The last stage keeps the best alone.
            keep = self.width if stage + 1 < self.num_codebooks else 1
            best = errors.topk(min(keep, errors.shape[1]), dim=1, largest=False).indices
            sums = tried.flatten(1, 2).gather(1, best[..., None].expand(-1, -1, self.dim))
            parents = (best // codes.shape[2])[..., None].expand(-1, -1, stage)
            chosen = codes.flatten(1).gather(1, best)
            paths = torch.cat([paths.gather(1, parents), chosen[..., None]], dim=2)
        return paths[:, 0]

    def _scaled(self, vectors: Tensor) -> Tensor:
        return (vectors - self.mean.to(vectors.dtype)) / self.scale.to(vectors.dtype)

    def _encode(self, vectors: Tensor) -> Tensor:
        return self._codes(self._scaled(vectors))

    def _decode(self, codes: Tensor) -> Tensor:
        return self.prefixes(codes)[-1] * self.scale + self.mean

    def _quantize(self, vectors: Tensor) -> Quantized:
        scaled = self._scaled(vectors)
        codes = self._codes(scaled.detach())
        decoded = self._decode(codes).to(vectors.dtype)
        losses = {
            "commitment": self.commitment_weight * mean_square(vectors - decoded.detach()),
            "codebook": self.stage_losses(scaled.detach(), codes).mean(),
        }
        return Quantized(straight_through(vectors, decoded), codes, losses)
