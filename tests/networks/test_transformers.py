"""Transformer blocks: masks, caches and conditions do exactly what they say."""

import pytest
import torch

from impl.networks.transformers import Cache, Transformer, causal_mask, sinusoids


def inputs(n=6, dim=16):
    return torch.randn(2, n, dim, generator=torch.Generator().manual_seed(1))


def test_causal_positions_see_only_the_past():
    torch.manual_seed(0)
    model, x = Transformer(16, 2, 4, causal=True), inputs()
    changed = x.clone()
    changed[:, 3:] *= torch.linspace(-1, 1, 16)
    before, after = model(x), model(changed)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


@pytest.mark.parametrize("pieces", [[1] * 6, [2, 3, 1], [6]])
def test_a_cache_continues_where_it_stopped(pieces):
    torch.manual_seed(0)
    model, x, cache = Transformer(16, 2, 4, causal=True), inputs(), Cache()
    parts = [model(part, cache=cache) for part in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(x))
    assert cache.length == 6


def test_a_mask_of_each_sample():
    torch.manual_seed(0)
    model, x = Transformer(16, 1, 4), inputs()
    mask = torch.ones(2, 6, 6, dtype=torch.bool)
    mask[1, :, 4:] = False
    changed = x.clone()
    changed[:, 4:] *= torch.linspace(-1, 1, 16)
    before, after = model(x, mask), model(changed, mask)
    torch.testing.assert_close(before[1, :4], after[1, :4])
    assert not torch.allclose(before[0, :4], after[0, :4])


def test_without_mask_positions_are_a_set():
    torch.manual_seed(0)
    model, x = Transformer(16, 2, 4), inputs()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(model(x)[:, order], model(x[:, order]), rtol=1e-5, atol=1e-5)


def test_a_condition_starts_without_effect_and_must_be_given():
    torch.manual_seed(0)
    model, x = Transformer(16, 2, 4, condition_dim=3), inputs()
    one, other = torch.zeros(2, 3), torch.ones(2, 3)
    assert torch.equal(model(x, condition=one), model(x, condition=other))
    torch.nn.init.normal_(model.norm.modulation.weight)
    assert not torch.equal(model(x, condition=one), model(x, condition=other))
    torch.testing.assert_close(model(x, condition=other), model(x, condition=other[:, None].expand(2, 6, 3)))
    with pytest.raises(ValueError, match="condition must be given"):
        model(x)


def test_a_context_is_read():
    torch.manual_seed(0)
    model, x = Transformer(16, 1, 4, cross=True), inputs()
    assert not torch.allclose(model(x, context=inputs(3)), model(x, context=2 * inputs(3)))


def test_normed_queries_and_keys_make_logits_independent_of_their_scale():
    torch.manual_seed(0)
    model, x = Transformer(16, 1, 4, query_key_norm=True), inputs()
    before = model(x)
    with torch.no_grad():
        model.blocks[0].attention.query.weight *= 100
        model.blocks[0].attention.query.bias *= 100
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4)


def test_states_and_positions():
    model, x = Transformer(16, 3, 4), inputs()
    states = model.states(x)
    assert len(states) == 4
    assert torch.equal(states[0], x)
    assert causal_mask(2, 1).tolist() == [[True, True, False], [True, True, True]]
    positions = sinusoids(5, 6)
    assert positions.shape == (5, 6)
    assert positions[0].tolist() == [0, 1, 0, 1, 0, 1]
    with pytest.raises(ValueError, match="multiple of heads"):
        Transformer(10, 1, 4)
