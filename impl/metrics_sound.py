"""Measures of waveforms, beside those of `impl.metrics`."""

import torch
from torch import Tensor


def si_sdr(reconstruction: Tensor, target: Tensor) -> float:
    """Return the scale-invariant signal-to-distortion ratio in decibels, averaged over waveforms (B, C, N).

    The target, scaled to fit, against what is left over; loudness and offset do not count.

    Raises:
        ValueError: the shapes differ, or there is no waveform.
    """
    if reconstruction.shape != target.shape or target.ndim != 3 or not target.numel():
        shapes = f"{tuple(reconstruction.shape)} and {tuple(target.shape)}"
        raise ValueError(f"reconstruction and target must be (B, C, N) and of one shape, got {shapes}.")
    from torchmetrics.functional.audio import (
        scale_invariant_signal_distortion_ratio,  # here: a second to import
    )

    with torch.no_grad():
        ratios = scale_invariant_signal_distortion_ratio(reconstruction, target, zero_mean=True)
    return float(ratios.mean())
