"""BEiT v2's tokenizer: codes from which a teacher's features can be told, not pixels.

Parts: a transformer over patches (`networks.patches`, `networks.transformers`), a codebook of directions moved by EMA
(`quantizers.cosine`); what is new is what the decoder is to give.
"""

from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.batches import draw_rows
from impl.data.scenes import digit_scenes
from impl.networks.convolutional import ConvEncoder
from impl.networks.patches import PatchEmbedding
from impl.networks.transformers import Transformer
from impl.quantizers.cosine import CosineVQ
from impl.tokenizers.base import Tokenized, Tokenizer


class VQKD(Tokenizer):
    """Vector-quantized knowledge distillation (peng2022beit): images (B, C, H, W) to codes (B, h, w, 1).

    A transformer reads the patches and two layers with a tanh between them make its output narrow; the code of a patch
    is the codeword of the smallest angle. A shallow transformer sees the codewords and is to say what a frozen teacher
    feels at each patch: the loss is the mean of 1 - cos(o_i, t_i), and no pixel is ever decoded.

    Args:
        teacher: maps images to features (B, n, S) of the same grid of patches, in reading order; frozen here.
        teacher_dim: S.
        channels: C.
        side: of the images.
        patch: side of a patch.
        dim: width of the transformers.
        depth: blocks of the encoder.
        decoder_depth: blocks of the decoder.
        heads: of attention.
        codebook_size: K.
        codebook_dim: D, of codewords.
        decay: of the moving average.
        revival_threshold: as of `VectorQuantizer`.
    """

    part_of: ClassVar[str] = "beit-v2"
    exempt_laws: ClassVar[dict[str, str]] = {
        "decode_inverts_encode": "what is decoded are the teacher's features, which have another shape than the image"
    }
    #: 16 x 16 pixels as 16 codes of 64.
    SMALL: ClassVar[dict[str, Any]] = {
        "channels": 3,
        "side": 16,
        "patch": 4,
        "dim": 64,
        "depth": 2,
        "heads": 4,
        "codebook_size": 64,
        "codebook_dim": 8,
        "revival_threshold": 0.1,
    }

    def __init__(
        self,
        teacher: nn.Module,
        teacher_dim: int,
        channels: int = 3,
        side: int = 224,
        patch: int = 16,
        dim: int = 768,
        depth: int = 12,
        decoder_depth: int = 1,
        heads: int = 12,
        codebook_size: int = 8192,
        codebook_dim: int = 32,
        decay: float = 0.99,
        revival_threshold: float = 0.0,
    ) -> None:
        super().__init__()
        self.teacher = teacher.eval().requires_grad_(False)
        self.patches = PatchEmbedding(channels, side, patch, dim)
        self.grid = self.patches.grid
        self.encoder = Transformer(dim, depth, heads)
        self.narrow = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, codebook_dim))
        self.quantizer = CosineVQ(
            codebook_dim,
            codebook_size,
            commitment_weight=1.0,
            decay=decay,
            revival_threshold=revival_threshold,
        )
        self.widen = nn.Linear(codebook_dim, dim)
        self.decoder = Transformer(dim, decoder_depth, heads)
        self.tell = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, teacher_dim))

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a small working instance with an untrained teacher; same seed, same weights."""
        torch.manual_seed(seed)
        return cls(DigitTeacher(), DigitTeacher.WIDTH, **cls.SMALL)

    @classmethod
    def example(cls, seed: int = 0, count: int = 2) -> Tensor:
        """Return digits on photographs that `tiny` takes: (count, 3, 16, 16)."""
        return draw_rows(digit_scenes("train").images, count, seed)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the teacher."""
        super().train(mode)
        self.teacher.eval()
        return self

    def latents(self, images: Tensor) -> Tensor:
        """Return the latents (B, h, w, D), not yet quantized, of images (B, C, H, W)."""
        return self.narrow(self.encoder(self.patches(images))).unflatten(1, self.grid)

    def encode(self, images: Tensor) -> Tensor:
        """Return codes (B, h, w, 1) of images (B, C, H, W)."""
        return self.quantizer.encode(self.latents(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Return what the teacher would feel, (B, h w, S), of an image with codes (B, h, w, 1)."""
        return self._decoded(self.quantizer.decode(codes))

    def forward(self, images: Tensor) -> Tokenized:
        """Return the teacher's features as told from the codes (B, h w, S), codes and losses."""
        quantized, codes, losses = self.quantizer(self.latents(images))
        told = self._decoded(quantized)
        with torch.no_grad():
            felt = self.teacher(images)
        if felt.shape != told.shape:
            shapes = f"{tuple(told.shape)}, got {tuple(felt.shape)}"
            raise ValueError(f"teacher must give features of the grid of patches, {shapes}.")
        distillation = (1 - F.cosine_similarity(told, felt, dim=-1)).mean()
        return Tokenized(told, codes, {"distillation": distillation, **losses})

    def _decoded(self, latents: Tensor) -> Tensor:
        return self.tell(self.decoder(self.widen(latents.flatten(1, 2)) + self.patches.positions))


class DigitTeacher(nn.Module):
    """A recogniser of digits in images of 16 x 16 pixels, the offline stand-in for CLIP and its kind.

    Called, it gives the features (B, 16, WIDTH) of 4 x 4 pixels each, before its last layer; trained
    (`objectives.teaching`), it names the digit from their average over the image.
    """

    WIDTH: ClassVar[int] = 32

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.encoder = ConvEncoder(channels, self.WIDTH, width=32, downsamplings=2)
        self.name = nn.Linear(self.WIDTH, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, n, WIDTH) of images (B, C, H, W)."""
        return self.encoder(images).flatten(2).transpose(1, 2)

    def names(self, features: Tensor) -> Tensor:
        """Return logits (B, 1, classes) of activated features (B, n, WIDTH)."""
        return self.name(features.mean(dim=1, keepdim=True))
