"""The tree of prefixes and its beam search: nothing illegal ever, exact when wide, by hand when narrow."""

import itertools

import pytest
import torch

from impl.sampling.prefix_tree import PrefixTree, beam_search

SIZES = (4, 3, 5)


def some_sequences(count=20, seed=0):
    every = torch.tensor(list(itertools.product(*map(range, SIZES))))
    return every[torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))[:count]]


def random_score(seed=0, batch=3):
    """A language without rules: the log-probabilities of a code are a fixed random function of the whole prefix."""

    def score(prefixes):
        level = prefixes.shape[-1]
        rows = []
        for row, beams in enumerate(prefixes.tolist()):
            for beam in beams:
                number = hash((seed, row, *beam)) % 2**31
                generator = torch.Generator().manual_seed(number)
                rows.append((3 * torch.randn(SIZES[level], generator=generator)).log_softmax(dim=0))
        return torch.stack(rows).unflatten(0, prefixes.shape[:2])

    return score


def brute_force(score, sequences, row):
    """The summed log-probability of every sequence, for one row of three."""
    total = torch.zeros(len(sequences))
    for level in range(len(SIZES)):
        prefixes = sequences[:, :level][None].expand(3, -1, -1)
        total += score(prefixes)[row].gather(1, sequences[:, level : level + 1])[:, 0]
    return total


def test_allowed_is_what_some_sequence_goes_on_with():
    sequences = some_sequences()
    tree = PrefixTree(sequences, SIZES)
    for length in range(3):
        for prefix in itertools.product(*map(range, SIZES[:length])):
            same = (sequences[:, :length] == torch.tensor(prefix, dtype=torch.int64)).all(dim=1)
            expected = torch.zeros(SIZES[length], dtype=torch.bool)
            expected[sequences[same, length]] = True
            assert torch.equal(tree.allowed(torch.tensor(prefix, dtype=torch.int64)), expected)


def test_as_wide_as_the_tree_it_is_the_exact_ranking():
    sequences, score = some_sequences(), random_score()
    for width in (20, 50):
        beams = beam_search(score, PrefixTree(sequences, SIZES), 3, width)
        for row in range(3):
            expected = brute_force(score, sequences, row)
            assert torch.equal(beams.rows[row], expected.argsort(descending=True))
            torch.testing.assert_close(beams.scores[row], expected[beams.rows[row]])


@pytest.mark.parametrize("width", range(1, 12))
def test_a_narrow_beam_gives_different_sequences_with_their_own_scores(width):
    """Beams greedy by hand: the best `width` legal prefixes at every place."""
    sequences, score = some_sequences(count=10, seed=1), random_score(seed=width)
    beams = beam_search(score, PrefixTree(sequences, SIZES), 3, width)
    assert beams.rows.shape == (3, min(width, 10))
    for row in range(3):
        kept = {(): 0.0}
        for level in range(3):
            grown = {}
            for prefix, total in kept.items():
                given = torch.tensor([prefix], dtype=torch.int64)[None].expand(3, -1, -1)
                scores = score(given)[row, 0]
                for code in range(SIZES[level]):
                    legal = any(tuple(s[: level + 1]) == (*prefix, code) for s in sequences.tolist())
                    if legal:
                        grown[*prefix, code] = total + float(scores[code])
            kept = dict(sorted(grown.items(), key=lambda item: -item[1])[:width])
        assert [tuple(sequences[index].tolist()) for index in beams.rows[row]] == list(kept)
        torch.testing.assert_close(beams.scores[row], torch.tensor(list(kept.values())))


def test_bad_sequences_are_refused():
    with pytest.raises(ValueError, match="all different, got 1 of 2"):
        PrefixTree(torch.tensor([[0, 1], [0, 1]]), (2, 2))
    with pytest.raises(ValueError, match="from 0 to below"):
        PrefixTree(torch.tensor([[0, 2]]), (2, 2))
    with pytest.raises(ValueError, match=r"must be \(N, 2\)"):
        PrefixTree(torch.zeros(0, 2, dtype=torch.int64), (2, 2))
    with pytest.raises(ValueError, match="width must be at least 1"):
        beam_search(random_score(), PrefixTree(some_sequences(), SIZES), 3, 0)
