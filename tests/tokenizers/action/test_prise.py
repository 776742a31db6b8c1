"""PRISE: codes by hand and by perturbation, tokens that spell planted strokes, and a policy with a shorter horizon."""

import itertools
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from impl.data.trajectories import Trajectories, pen_step, pen_trajectories, planted_strokes, stroke_headings
from impl.language.byte_pair import BytePair
from impl.tokenizers.action.prise import PRISE, TokenPolicy
from impl.training import train


def drawn(count=4, length=12, seed=0):
    return pen_trajectories(stroke_headings(planted_strokes(seed=seed), count, length, seed)[0], seed)


def briefly_trained(steps=3):
    prise, data = PRISE.tiny(), drawn()
    train(prise, prise.windows(data), steps=steps, batch_size=16, progress=False)
    return prise, data


def test_codes_follow_the_seed_and_survive_copies():
    first, second = (briefly_trained()[0] for _ in range(2))
    assert all(torch.equal(mine, second.state_dict()[name]) for name, mine in first.state_dict().items())
    data, other = drawn(seed=1), PRISE.tiny(seed=1)
    codes = first.encode(data.observations, data.actions)
    assert codes.shape == (4, 12, 1) and codes.dtype == torch.int64 and 0 <= codes.min() <= codes.max() < 6
    other.load_state_dict(first.state_dict())
    assert torch.equal(other.eval().encode(data.observations, data.actions), codes)


def test_a_code_sees_the_last_observations_and_its_own_action():
    prise, data = briefly_trained()
    states = prise.states(data.observations)
    moved = data.observations.clone()
    moved[:, 6] += 1
    changed = (prise.states(moved) != states).any(dim=-1).any(dim=0)
    assert changed.nonzero()[:, 0].tolist() == [6, 7, 8]
    latents = prise.latents(states, data.actions)
    other = data.actions.clone()
    other[:, 6] += 1
    changed = (prise.latents(states, other) != latents).any(dim=-1).any(dim=0)
    assert changed.nonzero()[:, 0].tolist() == [6]


def test_before_the_first_observation_stands_the_first():
    prise, data = briefly_trained()
    seen = data.observations
    longer = torch.cat([seen[:, :1], seen[:, :1], seen], dim=1)
    torch.testing.assert_close(prise.states(longer)[:, 2:], prise.states(seen))


def test_the_losses_by_hand():
    prise, data = briefly_trained()
    observations, actions = prise.windows(data)[:5]
    assert observations.shape == actions.shape == (5, 6, 2)
    output = prise((observations, actions))
    z, a = prise.states(observations)[:, 2:], actions[:, 2:5]
    dynamics = error = commitment = 0.0
    imagined = z[:, 0]
    for step in range(3):
        u = prise.combine(z[:, step] + prise.act(a[:, step]))
        codeword = prise.quantizer.codebook[torch.cdist(u, prise.quantizer.codebook).argmin(dim=1)]
        commitment += (u - codeword).square().mean()
        error += (prise.decoder(z[:, step] + codeword) - a[:, step]).abs().mean()
        imagined = prise.transition(imagined + codeword)
        ours, theirs = prise.predict(prise.project(imagined)), prise.project(z[:, step + 1])
        dynamics += (F.normalize(ours, dim=1) - F.normalize(theirs, dim=1)).square().sum(dim=1).mean()
    expected = {"dynamics": dynamics, "actions": error, "commitment": commitment}
    assert output.losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(output.losses[name], value, rtol=1e-4, atol=1e-5)
    codes = prise.encode(observations[:, 2:5], a)
    assert codes.shape == (5, 3, 1)


def test_the_expected_state_gets_no_gradient_and_every_layer_learns():
    prise, data = briefly_trained()
    losses = prise.train()(prise.windows(data)[:8]).losses
    sum(losses.values()).backward()
    for name, parameter in prise.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and bool((parameter.grad != 0).any()), name
    states = prise.states(data.observations).detach().requires_grad_()
    prise.latents(states, data.actions).sum().backward()
    assert states.grad is None


def test_half_precision_is_finite():
    model, data, _ = policy()
    batch = torch.utils.data.default_collate([model.examples(data)[index] for index in range(8)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = {**model.prise(model.prise.windows(data)[:8]).losses, **model(batch).losses}
        codes = model.prise.encode(data.observations, data.actions)
    assert all(bool(torch.isfinite(loss)) for loss in losses.values())
    assert (codes == model.prise.encode(data.observations, data.actions)).float().mean() > 0.8


def test_wrong_input_is_refused():
    prise, data = briefly_trained()
    with pytest.raises(ValueError, match=r"actions must have shape \(B, T, 2\)"):
        prise.encode(data.observations, data.actions[..., :1])
    with pytest.raises(ValueError, match="observations must be finite"):
        prise.states(data.observations / 0)
    with pytest.raises(ValueError, match="codes"):
        prise.decode(torch.full((4, 12, 1), 6), data.observations)


def policy(merges=12):
    prise, data = briefly_trained(20)
    codes = prise.encode(data.observations, data.actions)[..., 0].tolist()
    torch.manual_seed(0)
    return TokenPolicy(prise, BytePair(6).fit(codes, 6 + merges, max_token_length=5), data), data, codes


def test_labels_are_the_first_tokens_of_what_remains():
    model, data, codes = policy()
    pieces = [
        tuple(model.codes[index, : model.lengths[index]].tolist()) for index in range(len(model.tokens))
    ]
    for row, labels in zip(codes, model.labels.tolist(), strict=True):
        for place, label in enumerate(labels):
            assert tuple(row[place : place + len(pieces[label])]) == pieces[label]
    windows = model.examples(data)
    assert len(windows) == 4 * 12
    observations, actions, label, left = windows[12 + 9]
    assert label == model.labels[1, 9] and left == 3
    assert torch.equal(observations[2:5], data.observations[1, 9:12])
    assert torch.equal(actions[2:5], data.actions[1, 9:12])


def test_the_expected_decoding_loss_is_a_sum_over_tokens():
    model, data, _ = policy()
    batch = torch.utils.data.default_collate([model.examples(data)[index] for index in (0, 9, 23)])
    torch.manual_seed(1)
    losses = model(batch).losses
    observations, actions, _, left = batch
    states = model.prise.states(observations)[:, 2:]
    torch.manual_seed(1)
    shares = F.gumbel_softmax(model.logits(states[:, 0]), dim=-1)
    total = 0.0
    for row, token in itertools.product(range(3), range(len(model.tokens))):
        for step in range(min(int(model.lengths[token]), int(left[row]))):
            codeword = model.prise.quantizer.codebook[model.codes[token, step]]
            decoded = model.decoder(states[row, step] + codeword)
            total += shares[row, token] * (decoded - actions[row, 2 + step]).abs().sum()
    torch.testing.assert_close(losses["decoding"], 0.1 * total / 3)


def test_the_policy_trains_its_head_and_a_copy_of_the_decoder_alone():
    model, data, _ = policy()
    before = {name: tensor.clone() for name, tensor in model.prise.state_dict().items()}
    decoder = [parameter.clone() for parameter in model.decoder.parameters()]
    train(model, model.examples(data), steps=3, batch_size=16, progress=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.prise.state_dict().items())
    assert not any(torch.equal(*pair) for pair in zip(decoder, model.decoder.parameters(), strict=True))


def test_a_token_is_carried_out_before_the_next_is_chosen():
    model, data, _ = policy()
    seen, chosen = model.act(data.observations[:, 0], lambda observed, action: observed + action, 12)
    assert seen.observations.shape == seen.actions.shape == (4, 12, 2)
    for row in chosen.tolist():
        places = [place for place, token in enumerate(row) if token >= 0]
        assert places[0] == 0
        for place, following in itertools.pairwise(places):
            assert following - place == model.lengths[row[place]]
    torch.testing.assert_close(seen.observations[:, 1], seen.observations[:, 0] + seen.actions[:, 0])


@cache
def learned(seed, steps=300):
    """Codes of 60 rows of planted strokes, and 40 tokens of them."""
    strokes = planted_strokes(seed=seed)
    data = pen_trajectories(stroke_headings(strokes, 60, 50, seed)[0], seed)
    prise = PRISE.tiny(seed)
    options = {"batch_size": 128, "learning_rate": 2e-3, "seed": seed, "progress": False}
    train(prise, prise.windows(data), steps=steps, **options)
    codes = prise.encode(data.observations, data.actions)[..., 0]
    return strokes, prise, BytePair(6).fit(codes.tolist(), 40, 5, 10)


def success(prise, pieces, demonstrations, ends, seed, steps=400, radius=0.75):
    """Share of 100 drawings that pass within three steps of every way-point in time, and decisions a drawing."""
    torch.manual_seed(seed)
    model = TokenPolicy(prise, pieces, demonstrations)
    options = {"batch_size": 64, "learning_rate": 5e-3, "seed": seed, "progress": False}
    train(model, model.examples(demonstrations), steps=steps, **options)
    generator = torch.Generator().manual_seed(seed)
    start = 0.1 * torch.randn(100, 2, generator=generator)
    found, chosen = model.act(start, lambda at, action: pen_step(at, action, generator), ends[-1] + 1)
    far = (found.observations[:, ends] - demonstrations.observations.mean(dim=0)[ends]).norm(dim=-1)
    return float((far < radius).all(dim=1).float().mean()), float((chosen >= 0).float().sum(dim=1).mean())


@pytest.mark.long
@pytest.mark.claim
def test_tokens_imitate_better_than_codes():
    """From five demonstrations of four strokes more of the drawings succeed, with fewer decisions.

    Over twelve tasks 36 % against 20 %; single tasks go either way, so the margin asserted is 5 points of the mean.
    """
    rows = []
    for seed in range(3):
        strokes, prise, pieces = learned(seed)
        for task in range(4):
            chosen = np.random.default_rng([10 * seed + task, 9]).integers(len(strokes), size=4)
            row = [heading for index in chosen for heading in strokes[index]]
            ends = (np.cumsum([len(strokes[index]) for index in chosen]) - 1).tolist()
            shown: Trajectories = pen_trajectories(torch.tensor([row] * 5), 10 * seed + task + 100)
            tokens = success(prise, pieces, shown, ends, 10 * seed + task)
            rows.append([*tokens, *success(prise, BytePair(6), shown, ends, 10 * seed + task)])
    tokens, decisions, codes, steps = torch.tensor(rows).mean(dim=0).tolist()
    assert tokens > codes + 0.05, rows
    assert decisions < 0.7 * steps, rows


@pytest.mark.long
@pytest.mark.claim
def test_codes_are_headings_and_strokes_become_tokens():
    """A code tells the planted heading; at least 3 of 5 strokes are whole tokens."""
    for seed in range(3):
        strokes, prise, pieces = learned(seed)
        headings = stroke_headings(strokes, 60, 50, seed)[0]
        data = pen_trajectories(headings, seed)
        codes = prise.encode(data.observations, data.actions)[..., 0]
        table = torch.zeros(6, 6).index_put((codes, headings), torch.tensor(1.0), accumulate=True)
        assert table.amax(dim=1).sum() / table.sum() > 0.9, table
        of_heading = table.argmax(dim=0)
        assert sum(tuple(of_heading[list(stroke)].tolist()) in pieces.spelled for stroke in strokes) >= 3
