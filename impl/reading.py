"""Reads digits in images, texts and speech: what a model of `impl.data.three_ways` has answered, as numbers."""

from collections.abc import Sequence

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from impl.data.captioned import DIGITS
from impl.data.sound import Speech
from impl.data.three_ways import said, three_ways
from impl.listening import Listener

#: What is read where there is no digit.
NOTHING = -1


class DigitReader:
    """A linear classifier of images, the names themselves, and a listener of vowels.

    Args:
        spoken: utterances for the listener, that have been through the codec which its subjects use.
    """

    def __init__(self, spoken: Speech) -> None:
        data = three_ways("train")
        self._images = LogisticRegression(max_iter=500, C=0.1)
        self._images.fit(data.images.flatten(1).numpy(), data.digits.numpy())
        self._listener = Listener(spoken)

    def digits(self, samples: Tensor | Sequence[str], modality: str) -> Tensor:
        """Return the digits (N,) in samples of a modality, `NOTHING` where a text is no name, or no digit is so said.

        Raises:
            ValueError: an unknown modality.
        """
        if modality == "text":
            return torch.tensor([DIGITS.index(name) if name in DIGITS else NOTHING for name in samples])
        if modality == "image":
            return torch.from_numpy(self._images.predict(samples.detach().cpu().flatten(1).numpy()))
        if modality != "speech":
            raise ValueError(f'modality must be "text", "image" or "speech", got {modality!r}.')
        phones = torch.stack([self._listener.phones(waveform, 2) for waveform in samples])
        same = (phones[:, None] == said(torch.arange(len(DIGITS)))).all(dim=2)
        return torch.where(same.any(dim=1), same.int().argmax(dim=1), NOTHING)
