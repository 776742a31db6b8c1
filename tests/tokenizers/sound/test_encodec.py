"""EnCodec: the released network to the bit, exact streaming, and rates that follow from the numbers."""

import pytest
import torch

from impl.data.recordings import spoken_digits
from impl.data.sound import sounds, speech
from impl.metrics_sound import si_sdr
from impl.tokenizers.sound.encodec import EnCodec
from impl.training import train


@pytest.fixture(scope="module")
def tiny():
    """Return an untrained codec whose codebooks have been set from data, in evaluation mode."""
    codec = EnCodec.tiny().train()
    codec(sounds("train", 8, 0.5))
    return codec.eval()


def test_released_configuration_agrees_with_transformers():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    theirs = transformers.EncodecModel(transformers.EncodecConfig()).eval()
    ours = EnCodec(weights={"time": 1.0}).eval()
    counts = []
    with torch.no_grad():
        for mine, other in ((ours.encoder, theirs.encoder), (ours.decoder, theirs.decoder)):
            pairs = list(zip(mine.parameters(), other.parameters(), strict=True))
            counts.append(sum(parameter.numel() for parameter, _ in pairs))
            for parameter, source in pairs:
                assert parameter.shape == source.shape
                parameter.copy_(source)
        for stage, layer in zip(ours.quantizer.stages, theirs.quantizer.layers, strict=True):
            layer.codebook.embed.normal_(std=0.02)
            stage.set_codebook(layer.codebook.embed)
        waveform = 0.1 * torch.randn(2, 1, 3001)
        codes = theirs.encode(waveform, bandwidth=24.0).audio_codes[0]
        assert torch.equal(ours.encode(waveform), codes.transpose(1, 2))
        assert torch.equal(ours.encode(waveform, 8), theirs.encode(waveform, bandwidth=6.0).audio_codes[0].mT)
        torch.testing.assert_close(ours.decode(codes.mT), theirs.decode(codes[None], [None])[0])
    assert counts == [7_425_792, 7_426_018]
    assert ours.frame_rate == 75
    assert [ours.bit_rate(depth) for depth in (2, 4, 8, 16, 32)] == [1500, 3000, 6000, 12000, 24000]


def test_output_depends_on_the_past_alone(tiny):
    waveform = sounds("test", 2, 0.5)
    changed = waveform.clone()
    changed[..., 2000:] += 0.3
    before, after = tiny.latents(waveform), tiny.latents(changed)
    assert torch.equal(before[:, : 2000 // 40], after[:, : 2000 // 40])
    assert not torch.equal(before[:, 2000 // 40], after[:, 2000 // 40])
    codes, other = tiny.encode(waveform), tiny.encode(changed)
    other[:, :50] = codes[:, :50]
    with torch.no_grad():
        assert torch.equal(tiny.decode(codes)[..., :2000], tiny.decode(other)[..., :2000])


@pytest.mark.parametrize("frames", [1, 3, 100])
def test_streaming_is_the_offline_codec_in_pieces(tiny, frames):
    waveform = sounds("test", 2, 0.5)
    codes, encoder_state, decoder_state, pieces, columns = tiny.encode(waveform), None, None, [], []
    with torch.no_grad():
        for piece in waveform.split(frames * tiny.hop, dim=2):
            column, encoder_state = tiny.stream_encode(piece, encoder_state)
            columns.append(column)
        for piece in codes.split(frames, dim=1):
            samples, decoder_state = tiny.stream(piece, decoder_state)
            pieces.append(samples)
        torch.testing.assert_close(torch.cat(pieces, dim=2), tiny.decode(codes), rtol=1e-5, atol=1e-5)
    assert torch.equal(torch.cat(columns, dim=1), codes)


def test_reflection_refuses_to_stream_and_pieces_must_be_whole_frames(tiny):
    with pytest.raises(ValueError, match='padding="zeros"'):
        EnCodec(8000, 1, 4, (2,), 8, 8, 1, (1,), 0, weights={"time": 1.0}).stream_encode(torch.zeros(1, 1, 4))
    with pytest.raises(ValueError, match="multiple of 2"):
        tiny.stream_encode(torch.zeros(1, 1, 41))


@pytest.mark.parametrize("length", [1, 39, 40, 41, 4000])
def test_frames_are_the_length_over_the_hop_rounded_up(tiny, length):
    output = tiny(torch.zeros(1, 1, length))
    assert output.codes.shape == (1, -(-length // 40), 4)
    assert output.reconstruction.shape == (1, 1, length)


def test_fewer_codebooks_decode_as_if_the_others_were_zero(tiny):
    codes = tiny.encode(sounds("test", 1, 0.5))
    short = torch.cat([codes[..., :2], torch.full_like(codes[..., 2:], -1)], dim=-1)
    with torch.no_grad():
        assert torch.equal(tiny.decode(codes[..., :2]), tiny.decode(short))


@pytest.mark.parametrize(
    ("samples", "error", "says"),
    [
        (torch.zeros(1, 2, 80), ValueError, r"\(batch, 1, length\)"),
        (torch.zeros(1, 80), ValueError, r"\(batch, 1, length\)"),
        (torch.zeros(1, 1, 0), ValueError, r"\(batch, 1, length\)"),
        (torch.zeros(1, 1, 80, dtype=torch.int16), TypeError, "floating point"),
        (torch.full((1, 1, 80), torch.nan), ValueError, "finite"),
    ],
)
def test_bad_samples_are_refused(tiny, samples, error, says):
    with pytest.raises(error, match=says):
        tiny.encode(samples)


def test_critics_learn_from_their_own_loss_alone():
    torch.manual_seed(0)
    codec = EnCodec(8000, 1, 4, (2, 4), 8, 8, 2, (1, 2), 0, "zeros").train()
    waveform = sounds("train", 4, 0.25)
    losses = codec(waveform).losses
    assert set(losses) == {"balanced", "commitment", "critic"}
    losses["balanced"].backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in codec.critic.parameters())
    assert all(parameter.grad is not None for parameter in codec.decoder.parameters())
    decoder = [parameter.grad.clone() for parameter in codec.decoder.parameters()]
    losses["critic"].backward()
    assert all(parameter.grad is not None for parameter in codec.critic.parameters())
    assert all(map(torch.equal, decoder, (parameter.grad for parameter in codec.decoder.parameters())))


@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_one_codec_serves_every_rate(seed):
    """Quality grows with the number of codebooks in use, for one model trained on random numbers of them."""
    waveforms = speech("train", 512, 0.25, phones=1).waveforms
    held_out = speech("test", 60, 0.25, phones=1).waveforms
    codec = EnCodec.tiny(seed)
    train(codec, waveforms, steps=250, batch_size=4, learning_rate=3e-3, seed=seed, progress=False)
    with torch.no_grad():
        codes = codec.encode(held_out)
        ratios = [si_sdr(codec.decode(codes[..., :depth]), held_out) for depth in (1, 2, 4)]
    assert ratios[0] + 0.3 < ratios[1] < ratios[2] - 0.1, ratios


def test_reads_real_recordings(tiny):
    try:
        recordings = spoken_digits("test")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert recordings.waveforms.shape == (300, 1, 8000)
    assert recordings.phones.flatten().bincount().tolist() == [30] * 10
    assert recordings.speakers.unique().tolist() == list(range(6))
    assert tiny.encode(recordings.waveforms[:2]).shape == (2, 200, 4)
