"""SpeechTokenizer: a codec whose first codebook says what was spoken and whose others say how.

Parts: EnCodec's network, residual VQ, losses and balancer (`encodec`); new is that the first codebook is distilled from
a teacher of content.
"""

from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.sound import PHONES
from impl.networks.seanet import seanet_encoder
from impl.objectives.teaching import TeacherTraining as TeacherTraining
from impl.quantizers.gradients import straight_through
from impl.tokenizers.sound.encodec import EnCodec


class SpeechTokenizer(EnCodec):
    """EnCodec with semantic distillation into the first codebook (zhang2024speechtokenizer).

    The first codebook's output, projected, is to follow the teacher's features over time: for each feature d the cosine
    between the two courses of d, over the T frames, enters as -log sigmoid(cos). Gradients reach the encoder and the
    projection; the codebooks move by EMA.

    Args:
        teacher: maps waveforms (B, C, N) to features (B, T', S); frozen here. Of T and T' the shorter counts.
        teacher_dim: S.
        distillation_weight: of the distillation; the paper's is 2.7 times that of the mel distance.
        numbers: of `EnCodec`.
    """

    #: Its teacher is a network, not a number: it is built in code, not by `codebook train`.
    modality: ClassVar[str | None] = None

    def __init__(
        self, teacher: nn.Module, teacher_dim: int, distillation_weight: float = 5.0, **numbers: Any
    ) -> None:
        super().__init__(**numbers)
        self.teacher = teacher.eval().requires_grad_(False)
        self.projection = nn.Linear(self.quantizer.dim, teacher_dim)
        self.distillation_weight = distillation_weight

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a small codec with an untrained teacher."""
        torch.manual_seed(seed)
        return cls(VowelTeacher(), VowelTeacher.WIDTH, **EnCodec.SMALL)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the teacher."""
        super().train(mode)
        self.teacher.eval()
        return self

    def content(self, samples: Tensor) -> Tensor:
        """Return the codes of content (B, T): the first column."""
        return self.encode(samples, 1)[..., 0]

    def code_losses(self, samples: Tensor, latents: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Return the distillation of the first codebook."""
        codewords = self.quantizer.stage(0).codewords()[codes[..., 0]]
        ours = self.projection(straight_through(latents, codewords))
        with torch.no_grad():
            theirs = self.teacher(samples)
        return {"distillation": self.distillation_weight * distillation(ours, theirs)}


def distillation(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the mean over features of -log sigmoid(cosine over time) of (B, T, S) and (B, T', S).

    Of T and T' the shorter counts.
    """
    length = min(ours.shape[1], theirs.shape[1])
    cosines = F.cosine_similarity(ours[:, :length], theirs[:, :length], dim=1)
    return -F.logsigmoid(cosines).mean()


class VowelTeacher(nn.Module):
    """A recogniser of the synthesised vowels, the offline stand-in for self-supervised speech features.

    Called, it gives the features (B, T, WIDTH) of its last layer but one; trained, it names the vowel of every frame.

    Args:
        strides: their product is the hop of a frame in samples: by default 200 frames a second of 8 kHz.
    """

    WIDTH: ClassVar[int] = 16

    def __init__(self, strides: tuple[int, ...] = (2, 4, 5)) -> None:
        super().__init__()
        self.encoder = seanet_encoder(1, self.WIDTH, 8, strides, lstm_layers=0)
        self.names = nn.Linear(self.WIDTH, len(PHONES))

    def forward(self, samples: Tensor) -> Tensor:
        """Return features (B, T, WIDTH) of waveforms (B, 1, N)."""
        return self.encoder(samples).transpose(1, 2)
