"""Chameleon: image codes and text in one vocabulary, one transformer for both, in any order.

Parts: an image tokenizer that stays frozen, the vocabulary, packer and grammar of `impl.language`, the Chameleon
backbone of Hugging Face (queries and keys normalised). New: early fusion from scratch, and what keeps it stable.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import ChameleonConfig, ChameleonForConditionalGeneration

from impl.language.grammar import Grammar
from impl.language.model import LanguageModel, Written
from impl.language.packing import Segment, pack, string, text, unpack
from impl.language.vocabulary import BEGIN, END, Vocabulary
from impl.quantizers.vq_vae import VectorQuantizer
from impl.tokenizers.base import Tokenizer
from impl.tokenizers.image.autoencoder import ImageAutoencoder

#: A small transformer; larger ones differ by these numbers.
SMALL = {
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}


class Chameleon(nn.Module):
    """Early fusion of text and images (chameleonteam2024chameleon).

    A document is a caption and an image in either order; the image is its codes in raster order. One embedding table,
    one transformer, one softmax; the loss is next-id cross-entropy with a z term. Decoding knows by the grammar when
    codes are due: after `<image>` exactly as many as an image has.

    Args:
        tokenizer: of images, trained; it is frozen here.
        codebook_size: of the tokenizer's one codebook.
        grid: height and width of its codes.
        stable: normalise queries and keys and use the z term; without, a plain Llama block and plain cross-entropy, the
            baseline of the paper's stability claim.
        numbers: of the transformer's configuration.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        codebook_size: int,
        grid: tuple[int, int],
        stable: bool = True,
        **numbers: Any,
    ) -> None:
        super().__init__()
        self.tokenizer, self.grid = tokenizer.eval().requires_grad_(False), grid
        self.vocabulary = Vocabulary(256, {"image": (codebook_size,)})
        self.grammar = Grammar(self.vocabulary, {"image": grid[0] * grid[1]})
        self.language = LanguageModel(
            chameleon_backbone(self.vocabulary, stable, **{**SMALL, **numbers}),
            self.vocabulary,
            z_weight=1e-5 if stable else 0.0,
        )

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a model of 16 x 16 colour images with 4 x 4 codes of 64, its tokenizer untrained."""
        torch.manual_seed(seed)
        return cls(image_tokenizer(), 64, (4, 4), hidden_size=32, intermediate_size=64, num_hidden_layers=2)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the tokenizer, which stays as it was trained."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    @torch.no_grad()
    def documents(self, images: Tensor, captions: Sequence[str]) -> dict[str, Tensor]:
        """Write images (N, C, H, W) and captions as 2 N documents: first all captions before images, then all after.

        Returns:
            The rows as `LanguageModel` takes them, without masks: each row is one document.
        """
        codes = self.tokenizer.encode(images)
        words = [Segment("text", text(caption)) for caption in captions]
        pictures = [Segment("image", grid) for grid in codes]
        pairs = [[word, picture] for word, picture in zip(words, pictures, strict=True)]
        packed = pack([*pairs, *([picture, word] for word, picture in pairs)], self.vocabulary)
        return {name: tensor for name, tensor in packed.batch().items() if name != "mask"}

    def forward(self, batch: dict[str, Tensor]) -> Written:
        """Return logits and losses of rows of `documents`."""
        return self.language(batch)

    @torch.no_grad()
    def draw(self, captions: Sequence[str], temperature: float = 1.0, seed: int = 0) -> Tensor:
        """Draw an image for each caption: (N, C, H, W), the i-th with the seed plus i."""
        images = []
        for index, caption in enumerate(captions):
            opened = torch.tensor([self.vocabulary.mark("<image>")])
            prompt = torch.cat([torch.tensor([self.vocabulary.mark(BEGIN)]), text(caption), opened])
            ids = self._written(prompt, self.grid[0] * self.grid[1] + 1, temperature, seed + index)
            codes = next(
                segment.content for segment in unpack(ids, self.vocabulary) if segment.kind == "image"
            )
            images.append(codes.reshape(*self.grid, -1))
        return self.tokenizer.decode(torch.stack(images).to(self._device))

    @torch.no_grad()
    def describe(self, images: Tensor, length: int = 20) -> list[str]:
        """Return the most probable caption, of at most `length` bytes, for each image (N, C, H, W)."""
        codes = self.tokenizer.encode(images)
        marks = [self.vocabulary.mark(mark) for mark in (BEGIN, "<image>", "</image>")]
        words = []
        for grid in codes.cpu():
            picture = self.vocabulary.ids("image", grid)
            prompt = torch.cat([torch.tensor(marks[:2]), picture, torch.tensor(marks[2:])])
            ids = self._written(prompt, length, 0.0, 0)[len(prompt) :]
            # A caption is what stands before the end, or before another image.
            words.append(string(ids[: int((ids < self.vocabulary.text_size).long().cumprod(0).sum())]))
        return words

    def _written(self, prompt: Tensor, length: int, temperature: float, seed: int) -> Tensor:
        rows = prompt[None].to(self._device)
        return self.language.write(rows, self.grammar, length, temperature, seed=seed)[0].cpu()

    @property
    def _device(self) -> torch.device:
        return next(self.language.parameters()).device


def image_tokenizer(codebook_size: int = 64, dim: int = 16, channels: int = 3) -> ImageAutoencoder:
    """Build a small image tokenizer: a code for 4 x 4 pixels, codewords moved by EMA from a k-means start."""
    quantizer = VectorQuantizer(
        dim, codebook_size, update="ema", initialization="kmeans", revival_threshold=0.1
    )
    return ImageAutoencoder.small(quantizer, dim, channels, width=32, downsamplings=2)


def chameleon_backbone(vocabulary: Vocabulary, stable: bool, **numbers: Any) -> nn.Module:
    """Build the transformer of Hugging Face's Chameleon, random and without its image tokenizer's weight.

    Without `stable` the norms of queries and keys are taken out, which makes it Llama.
    """
    end = vocabulary.mark(END)
    config = ChameleonConfig(
        vocab_size=int(vocabulary.size),
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
        # Its own tokenizer is not used here: as small as it can be.
        vq_config={
            "base_channels": 32,
            "channel_multiplier": [1],
            "num_res_blocks": 1,
            "embed_dim": 32,
            "latent_channels": 32,
        },
        vocabulary_map={"<image>": vocabulary.mark("<image>")},
        **numbers,
    )
    backbone = ChameleonForConditionalGeneration(config)
    del backbone.model.vqmodel
    if not stable:
        for layer in backbone.model.layers:
            layer.self_attn.q_norm, layer.self_attn.k_norm = nn.Identity(), nn.Identity()
    return backbone
