"""Causal convolutions over video: who sees whom, by perturbation, and sizes by formula."""

import pytest
import torch

from impl.networks.causal_3d import AdaptiveNorm, CausalConv3d, CausalDecoder, CausalEncoder, DepthToSpace

STRIDES = [((1, 2), (2, 2)), ((2, 2), (2, 2)), ((2, 1),), ((3, 2),)]


def moved(before, after):
    """Which steps in time differ."""
    return ((before - after).abs().amax(dim=(0, 1, 3, 4)) > 1e-6).tolist()


@pytest.mark.parametrize("strides", STRIDES)
def test_sizes_by_formula(strides):
    rate = torch.tensor([time for time, _ in strides]).prod().item()
    hop = torch.tensor([space for _, space in strides]).prod().item()
    encoder, decoder = CausalEncoder(3, 6, 4, strides), CausalDecoder(6, 3, 4, strides)
    for steps in (0, 1, 3):
        videos = torch.randn(2, 3, 1 + steps * rate, 8, 12)
        latents = encoder(videos)
        assert latents.shape == (2, 6, 1 + steps, 8 // hop, 12 // hop)
        assert decoder(latents).shape == videos.shape


@pytest.mark.parametrize("strides", STRIDES)
def test_encoder_and_decoder_are_causal(strides):
    torch.manual_seed(0)
    rate = torch.tensor([time for time, _ in strides]).prod().item()
    encoder, decoder = CausalEncoder(2, 6, 4, strides), CausalDecoder(6, 2, 4, strides)
    for module in decoder.modules():
        if isinstance(module, AdaptiveNorm):  # zeros at the start would hide what goes through
            torch.nn.init.normal_(module.modulation.weight, std=0.3)
    videos = torch.randn(1, 2, 1 + 3 * rate, 8, 8)
    latents = encoder(videos)
    for frame in range(1 + 3 * rate):
        changed = videos.clone()
        changed[:, :, frame] += 1 + torch.randn(2, 8, 8)
        step = -(-frame // rate)  # the first step that may know of the frame
        assert moved(latents, encoder(changed)) == [other >= step for other in range(4)]
    decoded = decoder(latents)
    for step in range(4):
        changed = latents.clone()
        changed[:, :, step] += torch.randn_like(changed[:, :, step])
        first = max(0, (step - 1) * rate + 1) if step else 0
        found = moved(decoded, decoder(changed))
        assert not any(found[:first]) and all(found[first : first + rate])


def test_depth_to_space_moves_each_channel_to_its_place():
    enlarge = DepthToSpace(2, (2, 2))
    enlarge.conv = torch.nn.Identity()
    x = torch.randn(1, 16, 3, 4, 5)
    large = enlarge(x)
    assert large.shape == (1, 2, 5, 8, 10)
    for frame, row, column in [(0, 3, 7), (1, 0, 0), (4, 7, 9)]:
        source = frame + 1  # the frame before the first is dropped
        channel = (source % 2) * 4 + (row % 2) * 2 + column % 2
        assert large[0, 1, frame, row, column] == x[0, 8 + channel, source // 2, row // 2, column // 2]


def test_the_adaptive_norm_by_hand():
    torch.manual_seed(0)
    norm = AdaptiveNorm(4, 3, 2)
    x, latents = torch.randn(2, 4, 5, 6, 6), torch.randn(2, 3, 3, 2, 2)
    torch.testing.assert_close(norm(x, latents), norm.norm(x))
    torch.nn.init.normal_(norm.modulation.weight)
    found = norm(x, latents)
    for frame, step in enumerate((0, 1, 1, 2, 2)):
        places = latents[1, :, step].flatten(1)
        spread = (places.var(dim=1, correction=0) + 1e-5).sqrt()
        scale, shift = (norm.modulation.weight @ torch.cat([places.mean(dim=1), spread])).chunk(2)
        group = x[1, :, frame]
        plain = (group - group.mean()) / (group.var(correction=0) + 1e-5).sqrt()
        expected = (1 + scale)[:, None, None] * plain + shift[:, None, None]
        torch.testing.assert_close(found[1, :, frame], expected, rtol=1e-4, atol=1e-4)


def test_one_kernel_over_all_frames_is_the_convolution_of_the_padded_video():
    conv, x = CausalConv3d(2, 3, 3, (2, 1)), torch.randn(1, 2, 5, 4, 4)
    padded = torch.cat([torch.zeros(1, 2, 2, 4, 4), x], dim=2)
    expected = torch.nn.functional.conv3d(padded, conv.weight, conv.bias, stride=(2, 1, 1), padding=(0, 1, 1))
    torch.testing.assert_close(conv(x), expected)
