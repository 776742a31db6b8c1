"""Entropy coding of codes: lossless, at the price that the model's probabilities name."""

import math

import pytest
import torch

from impl.data.sound import speech
from impl.tokenizers.sound.code_model import CodeModel
from impl.tokenizers.sound.encodec import EnCodec
from impl.training import train


def repeating(count, frames=60):
    """Return codes (count, frames, 2) that mostly repeat the frame before: predictable, with surprises."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(16, (count, frames, 2), generator=generator)
    for t in range(1, frames):
        keep = torch.rand(count, 1, generator=generator) < 0.8
        codes[:, t] = torch.where(keep, codes[:, t - 1], codes[:, t])
    return codes


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = CodeModel((16, 16), dim=32, depth=1, context=60)
    train(model, repeating(256), steps=60, batch_size=32, learning_rate=5e-3, progress=False)
    return model


@pytest.mark.parametrize("frames", [0, 1, 60, 130])
def test_round_trip_is_exact(model, frames):
    codes = repeating(3, max(frames, 1))[1, :frames]
    assert torch.equal(model.decompress(model.compress(codes), frames), codes)


def test_length_is_the_cross_entropy(model):
    codes = repeating(300)[299]
    with torch.no_grad():
        bits = model(codes[None]).losses["cross_entropy"].item() / math.log(2) * codes.numel()
    written = 8 * len(model.compress(codes))
    assert bits * 0.99 <= written <= bits * 1.01 + 64
    assert written < 0.8 * codes.numel() * 4


def test_a_frame_is_predicted_from_those_before(model):
    codes = repeating(1)
    changed = codes.clone()
    changed[:, 30:] = (changed[:, 30:] + 1) % 16
    with torch.no_grad():
        before, after = model(codes).logits, model(changed).logits
    assert torch.equal(before[:, :31], after[:, :31])
    assert not torch.equal(before[:, 31], after[:, 31])


def test_bad_input_is_refused(model):
    with pytest.raises(ValueError, match="equal"):
        CodeModel((16, 8))
    with pytest.raises(ValueError, match=r"\(frames, 2\)"):
        model.compress(torch.zeros(5, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\[0, 16\)"):
        model.compress(torch.full((5, 2), 16))
    with pytest.raises(ValueError, match="multiple of 4"):
        model.decompress(b"abc", 1)
    with pytest.raises(ValueError, match="at most 60"):
        model(repeating(1, 61))


@pytest.mark.claim
def test_saves_bits_on_held_out_speech():
    """At least 15 per cent fewer bits than codes of fixed length, in whole bytes, on utterances not trained on."""
    codec = EnCodec.tiny()
    train_waveforms = speech("train", 256, 0.5, phones=2).waveforms
    train(codec, train_waveforms, steps=100, batch_size=8, learning_rate=3e-3, progress=False)
    with torch.no_grad():
        seen, held_out = (
            codec.encode(train_waveforms),
            codec.encode(speech("test", 8, 0.5, phones=2).waveforms),
        )
    fixed = held_out[0].numel() * 6
    for seed in range(3):
        torch.manual_seed(seed)
        model = CodeModel(codec.quantizer.codebook_sizes, dim=32, depth=1)
        train(model, seen, steps=60, batch_size=16, learning_rate=5e-3, seed=seed, progress=False)
        written = [8 * len(model.compress(codes)) for codes in held_out]
        assert sum(written) / len(written) < 0.85 * fixed
