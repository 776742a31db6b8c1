"""Reg-VQ around images: places whose code was drawn need not be reconstructed exactly.

Parts: the quantizer (`impl.quantizers.reg_vq`), autoencoder (`autoencoder`), features of a fixed network
(`impl.objectives.perceptual`); what is new is the probabilistic contrastive loss.
"""

import math
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.objectives.perceptual import PerceptualDistance
from impl.quantizers.reg_vq import RegVQ
from impl.tokenizers.base import Tokenized
from impl.tokenizers.image.autoencoder import ImageAutoencoder

#: Share of the mean weight that each place keeps, drawn or not.
LEAST_WEIGHT = 1e-3


def probabilistic_contrastive_loss(
    features: Tensor, targets: Tensor, displacements: Tensor, temperature: float
) -> Tensor:
    """Return the loss that pulls features to their own place's target and away from the other places' (Reg-VQ).

    With y_i the target and z_i the feature of place i of L, and s_ij = <y_i, z_j> / tau, it is

        sum_i -log( w_i e^s_ii / (w_i e^s_ii + 1/L sum_{j != i} e^s_ij) ),

    the mean over images. The weights w are the displacements divided by their sum: the further the draw of a place went
    from its best code, the weaker the pull. Equal weights make it L times InfoNCE. A place that was not drawn would
    have a weight of zero and an infinite loss; it has a thousandth of the mean weight instead, at which its pull is as
    good as full. Where nothing was drawn all weights are equal.

    Args:
        features: (B, L, C), of the reconstruction, of unit length.
        targets: (B, L, C), of the image, of unit length.
        displacements: (B, L), at least 0, held constant.
        temperature: tau.
    """
    places = features.shape[1]
    shares = displacements.detach() / displacements.detach().sum(dim=1, keepdim=True)
    weights = torch.where(shares.isfinite(), shares, 1 / places).clamp(min=LEAST_WEIGHT / places)
    scores = targets @ features.transpose(1, 2) / temperature - math.log(places)
    # The 1 / L is in all scores; the diagonal trades it for its weight.
    scores = scores + torch.diag_embed(weights.log() + math.log(places))
    return (torch.logsumexp(scores, dim=2) - scores.diagonal(dim1=1, dim2=2)).sum(dim=1).mean()


class RegVQAutoencoder(ImageAutoencoder):
    """Reg-VQ as a whole (zhang2023regularized): encoder, regularized quantizer, decoder and the contrastive loss.

    Args:
        quantizer: of width D.
        encoder: (B, C, H, W) to (B, D, h, w).
        decoder: (B, D, h, w) to (B, C, H, W).
        stages: a fixed network of features, one part after another, pooled to the token grid after the last; in the
            paper those of a trained VGG-19.
        contrastive_weight: of the contrastive loss, a token.
        temperature: tau of it.
    """

    part_of: ClassVar[str] = "reg-vq"
    quantizer: RegVQ

    def __init__(
        self,
        quantizer: RegVQ,
        encoder: nn.Module,
        decoder: nn.Module,
        stages: nn.Module,
        contrastive_weight: float = 0.1,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(quantizer, encoder, decoder)
        self.stages = stages.eval().requires_grad_(False)
        self.contrastive_weight, self.temperature = contrastive_weight, temperature

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return an autoencoder for 8 x 8 grey images, 4 x 4 tokens from 32 codes, with features of random filters."""
        torch.manual_seed(seed)
        model = ImageAutoencoder.small(RegVQ(8, 32), 8, channels=1, width=8, downsamplings=1)
        stages = nn.Sequential(*PerceptualDistance.random(1, depth=2).stages)
        return cls(model.quantizer, model.encoder, model.decoder, stages)

    def features(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return unit features (B, h w, C) of images (B, C, H, W) on a grid of h x w places."""
        maps = F.adaptive_avg_pool2d(self.stages(images), grid)
        return F.normalize(maps.flatten(2).transpose(1, 2), dim=2, eps=1e-6)

    def forward(self, images: Tensor) -> Tokenized:
        """Return the reconstruction, codes and losses; in training the contrastive one among them."""
        latents = self.latents(images)
        quantized, codes, losses = self.quantizer(latents)
        reconstruction = self._decoded(quantized)
        losses = {"reconstruction": F.mse_loss(reconstruction, images), **losses}
        if self.training:
            grid = (latents.shape[1], latents.shape[2])
            contrast = probabilistic_contrastive_loss(
                self.features(reconstruction, grid),
                self.features(images, grid),
                self.quantizer.displacement(latents.detach(), codes).flatten(1),
                self.temperature,
            )
            losses["contrastive"] = self.contrastive_weight * contrast / math.prod(grid)
        return Tokenized(reconstruction, codes, losses)
