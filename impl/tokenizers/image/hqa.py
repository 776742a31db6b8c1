"""HQA: a stack of stochastic VQ autoencoders, each of which models the latents of the one below.

Parts: assignment by chance with its relaxed draw, divergence and expected commitment (`quantizers.stochastic`),
convolutional networks (`networks.convolutional`); what is new is the stack.
"""

from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.batches import draw_rows
from impl.data.images import digits
from impl.networks.convolutional import ConvDecoder, ConvEncoder
from impl.quantizers.stochastic import StochasticVQ
from impl.tokenizers.base import Tokenized, Tokenizer, check_finite


class HQA(Tokenizer):
    """A layer of the hierarchical quantized autoencoder (williams2020hierarchical) on top of those below it.

    The first layer encodes pixels, each further one the continuous latents of the layer below, at half the resolution:
    its codes are a quarter as many. Only the top layer's codes are kept. They are decoded downwards: a layer's decoder
    gives an estimate of the latents below, these are quantized by the layer below, and so on to the pixels. What the
    layers are not told they draw: `decode(codes, sample=True)` quantizes by chance, and gives another image each time.

    Layers are trained one after another: `HQA(lower=trained)` freezes `trained` and everything below. The loss is the
    squared error of the latents below (pixels for the first layer) and the quantizer's two terms; as in the paper these
    are summed over the positions and divided by the number of values that are reconstructed.

    Args:
        lower: the layer below, trained; None for the first one.
        channels: C of the images; the first layer's alone to say.
        dim: D, of latents and codewords.
        codebook_size: K.
        width: channels inside the networks.
        divergence_weight: of the divergence of the assignment from the uniform one.
        commitment_weight: of the expected squared distance to the codewords.
        annealing: training passes in which the temperature falls to almost nothing.
    """

    #: One layer; `tiny` puts another on it. No `modality`: a stack is not built from plain numbers alone.
    SMALL: ClassVar[dict[str, Any]] = {
        "channels": 1,
        "dim": 8,
        "codebook_size": 16,
        "width": 8,
        "annealing": 20,
    }

    def __init__(
        self,
        lower: Self | None = None,
        channels: int = 3,
        dim: int = 64,
        codebook_size: int = 256,
        width: int = 64,
        divergence_weight: float = 1e-3,
        commitment_weight: float = 1e-3,
        annealing: int = 10_000,
    ) -> None:
        super().__init__()
        self.lower = None if lower is None else lower.eval().requires_grad_(False)
        self.channels = channels if lower is None else lower.channels
        self.dim, self.hop = dim, 2 if lower is None else 2 * lower.hop
        below = self.channels if lower is None else lower.dim
        self.encoder = ConvEncoder(below, dim, width, downsamplings=1)
        self.normalization = nn.BatchNorm2d(dim, affine=False)
        # A position stands for 2 x 2 of the positions below, each of `below` values.
        self.quantizer = StochasticVQ(
            dim,
            codebook_size,
            divergence_weight=divergence_weight / (4 * below),
            commitment_weight=commitment_weight / (4 * below),
            annealing=annealing,
        )
        self.decoder = ConvDecoder(dim, below, width, upsamplings=1)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return two small layers, the lower one frozen as it is; same seed, same weights."""
        torch.manual_seed(seed)
        return cls(lower=cls(**cls.SMALL), **cls.SMALL)

    @classmethod
    def example(cls, seed: int = 0, count: int = 2) -> Tensor:
        """Return handwritten digits that `tiny` takes: (count, 1, 8, 8)."""
        return draw_rows(digits("train"), count, seed)

    def train(self, mode: bool = True) -> Self:
        """Switch this layer to training or evaluation; those below it stay in evaluation."""
        super().train(mode)
        if self.lower is not None:
            self.lower.eval()
        return self

    def latents(self, samples: Tensor) -> Tensor:
        """Return this layer's continuous latents (B, D, h, w) of images (B, C, H, W); `hop` divides H and W."""
        return self.normalization(self.encoder(self._below(samples)))

    def encode(self, samples: Tensor) -> Tensor:
        """Return this layer's codes (B, h, w, 1) of images (B, C, H, W): the likeliest ones."""
        return self.quantizer.encode(_last(self.latents(samples)))

    def decode(self, codes: Tensor, sample: bool = False) -> Tensor:
        """Return images (B, C, H, W) of this layer's codes (B, h, w, 1).

        Args:
            codes: of this layer.
            sample: draw the codes of the layers below, from torch's generator, instead of taking the likeliest.
        """
        return self._downwards(self.decoder(_first(self.quantizer.decode(codes))), sample)

    def forward(self, samples: Tensor) -> Tokenized:
        """Return the image that the codes (in training: their relaxed draw) decode to, the codes, and the losses of
        this layer; "reconstruction" is the squared error of the latents below, of the pixels in the first layer.
        """
        below = self._below(samples)
        quantized, codes, losses = self.quantizer(_last(self.normalization(self.encoder(below))))
        estimate = self.decoder(_first(quantized))
        losses = {"reconstruction": F.mse_loss(estimate, below), **losses}
        return Tokenized(self._downwards(estimate, sample=False), codes, losses)

    def _below(self, samples: Tensor) -> Tensor:
        """Return what this layer reconstructs: the images, or the latents of the layer below."""
        check_finite(samples)
        if self.lower is None:
            return samples
        with torch.no_grad():
            return self.lower.latents(samples)

    def _downwards(self, estimate: Tensor, sample: bool) -> Tensor:
        if self.lower is None:
            return estimate
        quantizer = self.lower.quantizer
        latents = _last(estimate)
        codes = quantizer.sample(latents) if sample else quantizer.encode(latents)
        return self.lower.decode(codes, sample)


def _last(maps: Tensor) -> Tensor:
    """(B, D, h, w) with the channels last."""
    return maps.permute(0, 2, 3, 1)


def _first(maps: Tensor) -> Tensor:
    """(B, h, w, D) with the channels first."""
    return maps.permute(0, 3, 1, 2)
