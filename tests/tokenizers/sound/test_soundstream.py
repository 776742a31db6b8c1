"""SoundStream: it streams, one model serves every rate, and a switch takes noise away."""

import pytest
import torch

from impl.data.sound import sounds, speech
from impl.networks.seanet import ResidualUnit
from impl.tokenizers.sound.soundstream import SoundStream
from impl.training import train


@pytest.fixture(scope="module")
def tiny():
    """Return an untrained codec whose codebooks have been set from data, in evaluation mode."""
    codec = SoundStream.tiny().train()
    codec(sounds("train", 8, 0.5))
    return codec.eval()


def test_the_paper_s_numbers():
    """24 kHz with strides whose product is 320: 75 frames a second, 10 bits a codebook, 6 kbit/s with eight."""
    codec = SoundStream(width=4, weights={"mel": 1.0})
    assert (codec.frame_rate, codec.bit_rate(), codec.bit_rate(4)) == (75, 6000, 3000)
    assert codec.quantizer.depths == tuple(range(1, 9))
    units = [part for part in codec.encoder if isinstance(part, ResidualUnit)]
    assert [unit.block[1].conv.dilation for unit in units] == [(1,), (3,), (9,)] * 4


def test_output_depends_on_the_past_alone_and_streams(tiny):
    waveform = sounds("test", 2, 0.5)
    changed = waveform.clone()
    changed[..., 2000:] += 0.3
    assert torch.equal(tiny.latents(waveform)[:, :50], tiny.latents(changed)[:, :50])
    codes, state, pieces, columns, before = tiny.encode(waveform), None, [], [], None
    with torch.no_grad():
        for piece in waveform.split(400, dim=2):
            column, before = tiny.stream_encode(piece, before)
            columns.append(column)
        for piece in codes.split(10, dim=1):
            samples, state = tiny.stream(piece, state)
            pieces.append(samples)
        torch.testing.assert_close(torch.cat(pieces, dim=2), tiny.decode(codes), rtol=1e-5, atol=1e-5)
    assert torch.equal(torch.cat(columns, dim=1), codes)


def test_the_switch_scales_and_shifts_the_latents():
    codec = SoundStream.tiny().eval()
    with torch.no_grad():
        codec.switch[1, 0], codec.switch[1, 1] = 0.5, 0.25
        waveform = sounds("test", 2, 0.25)
        off = codec.latents(waveform)
        codec.denoise = True
        torch.testing.assert_close(codec.latents(waveform), 1.5 * off + 0.25)
    assert not SoundStream(width=4, weights={"mel": 1.0}).noise


def test_training_asks_for_noisy_and_clean_reconstructions(monkeypatch):
    """Where the switch is on the target is what was given, elsewhere it is what the encoder heard."""
    codec, seen = SoundStream.tiny().train(), {}
    waveform = sounds("train", 32, 0.125)
    monkeypatch.setattr(
        codec.encoder, "forward", lambda noisy: seen.setdefault("noisy", noisy)[..., ::40].repeat(1, 32, 1)
    )
    monkeypatch.setattr(codec, "finished", lambda latents, target: seen.setdefault("target", target))
    codec(waveform)
    clean = (seen["target"] == waveform).flatten(1).all(dim=1)
    heard = (seen["target"] == seen["noisy"]).flatten(1).all(dim=1)
    assert torch.equal(clean, ~heard) and 5 < clean.sum() < 27
    assert (seen["noisy"] - waveform).std() == pytest.approx(0.05, rel=0.05)


def test_critics_learn_from_their_own_loss_alone():
    torch.manual_seed(0)
    codec = SoundStream(8000, 1, 4, (2, 4), 8, 8, 2).train()
    losses = codec(sounds("train", 4, 0.25)).losses
    assert set(losses) == {"mel", "adversarial", "features", "critic", "commitment"}
    sum(loss for name, loss in losses.items() if name != "critic").backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in codec.critics.parameters())
    assert all(parameter.grad is not None for parameter in codec.decoder.parameters())
    losses["critic"].backward()
    assert all(parameter.grad is not None for parameter in codec.critics.parameters())


def trained(seed, **numbers):
    torch.manual_seed(seed)
    codec = SoundStream(**{**SoundStream.SMALL, **numbers})
    waveforms = speech("train", 512, 0.25, phones=1).waveforms
    train(codec, waveforms, steps=200, batch_size=4, learning_rate=3e-3, seed=seed, progress=False)
    return codec.eval()


@pytest.mark.claim
@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_one_codec_serves_every_rate(seed):
    """zeghidour2022soundstream: the mel distance falls with every codebook in use.

    That with one codebook it is nearer than a codec always trained on all held for two seeds of three (1.47 against
    1.38 for the third, after 200 steps), and is not asserted.
    """
    held_out = speech("test", 60, 0.25, phones=1).waveforms
    codec = trained(seed, noise=0.0)
    with torch.no_grad():
        codes = codec.encode(held_out)
        left = [float(codec.mel(codec.decode(codes[..., :depth]), held_out)) for depth in (1, 2, 4)]
    assert left[0] > left[1] > left[2], left


@pytest.mark.claim
@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_the_switch_takes_noise_away(seed):
    """One model, the same noisy speech: with the switch on the clean speech is nearer."""
    codec = trained(seed, noise=0.1)
    clean = speech("test", 60, 0.25, phones=1).waveforms
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(9))
    left = {}
    with torch.no_grad():
        for codec.denoise in (False, True):
            left[codec.denoise] = float(codec.mel(codec.decode(codec.encode(noisy)), clean))
    assert left[True] < left[False] - 0.1, left
