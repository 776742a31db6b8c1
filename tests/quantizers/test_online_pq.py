"""Online PQ: means of all that was assigned, insertion undone by removal, budgets, scikit-learn, its claim."""

import pytest
import torch

from impl.benches import drift
from impl.quantizers.online_pq import OnlineProductQuantizer, largest
from impl.quantizers.pq import ProductQuantizer


def data(rows=200, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def error(quantizer, vectors):
    """Squared error as a share of the vectors' spread."""
    decoded = quantizer.decode(quantizer.encode(vectors)).detach()
    return ((decoded - vectors).square().mean() / (vectors - vectors.mean(dim=0)).square().mean()).item()


def means(parts, codes, tables):
    """The mean of each code's parts, by hand; where a code has none, its row of the tables."""
    expected = tables.clone()
    for m in range(tables.shape[0]):
        for k in range(tables.shape[1]):
            chosen = parts[codes[:, m] == k, m]
            if len(chosen):
                expected[m, k] = chosen.mean(dim=0)
    return expected


def test_codewords_are_the_means_of_all_that_they_were_given_however_it_came():
    first, later = data(), data(90, seed=1) + 1
    for sizes in ([90], [45, 45], [1] * 90):
        online = OnlineProductQuantizer(6, 8, 3).fit(first, iterations=100)
        parts, codes = [online.parts(first)], [online.encode(first)]
        for batch in later.split(sizes):
            parts.append(online.parts(batch))
            codes.append(online.insert(batch))
        joined = means(torch.cat(parts), torch.cat(codes), online.codebooks)
        torch.testing.assert_close(online.codebooks.detach(), joined, rtol=0, atol=1e-5)
        assert online.counts.sum(dim=1).tolist() == [290.0] * 3


def test_removal_undoes_insertion():
    online = OnlineProductQuantizer(6, 8, 3).fit(data())
    before, counts = online.codebooks.clone(), online.counts.clone()
    batch = data(90, seed=1) + 1
    codes = online.insert(batch)
    assert not torch.allclose(online.codebooks, before, atol=1e-2)
    online.remove(batch, codes)
    torch.testing.assert_close(online.codebooks.detach(), before, rtol=0, atol=1e-5)
    assert torch.equal(online.counts, counts)


def test_a_codeword_that_lost_all_its_vectors_stays_where_it_is():
    online, vector = OnlineProductQuantizer(6, 4, 1), data(1)
    code = online.insert(vector)
    online.remove(vector, code)
    torch.testing.assert_close(online.decode(code), vector)
    assert online.counts.sum() == 0


def test_what_was_never_inserted_cannot_leave():
    online = OnlineProductQuantizer(6, 4, 2).fit(data())
    with pytest.raises(ValueError, match="vectors and codes must be such that were inserted"):
        online.remove(data(300), torch.zeros(300, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="codes must have one row a vector"):
        online.remove(data(3), torch.zeros(2, 2, dtype=torch.int64))


def test_one_codeword_is_the_running_mean():
    online = OnlineProductQuantizer(6, 1, 2).fit(data())
    for seed in (1, 2):
        online.partial_fit(data(30, seed=seed) + 2)
    everything = torch.cat([data(), data(30, seed=1) + 2, data(30, seed=2) + 2])
    torch.testing.assert_close(online.decode(torch.zeros(1, 2, dtype=torch.int64))[0], everything.mean(dim=0))


def test_full_budgets_are_no_budgets():
    free = OnlineProductQuantizer(6, 8, 3).fit(data()).partial_fit(data(seed=1))
    full = (
        OnlineProductQuantizer(6, 8, 3, codebook_budget=3, codeword_budget=8)
        .fit(data())
        .partial_fit(data(seed=1))
    )
    assert torch.equal(free.codebooks, full.codebooks)


def test_a_budget_moves_the_largest_and_keeps_the_rest_for_later():
    free = OnlineProductQuantizer(6, 8, 3).fit(data())
    tight = OnlineProductQuantizer(6, 8, 3, codebook_budget=1, codeword_budget=2).fit(data())
    start, batch = free.codebooks.clone(), data(90, seed=1) + 1
    codes = free.insert(batch)
    assert torch.equal(tight.insert(batch), codes)
    lengths = (free.codebooks - start).square().sum(dim=2)
    best = lengths.sum(dim=1).argmax()
    moved = (tight.codebooks != start).any(dim=2)
    assert moved.sum() == 2 and moved[best, lengths[best].topk(2).indices].all()
    torch.testing.assert_close(tight.codebooks[moved], free.codebooks[moved])
    # What waits is not lost: it makes up the whole difference, also after a second round with the same codes.
    codes = free.insert(data(seed=2))
    tight._receive(data(seed=2), codes)
    held = tight.counts + tight.waiting_counts
    complete = tight.codebooks + tight.waiting_shifts / held[..., None]
    torch.testing.assert_close(complete, free.codebooks, rtol=0, atol=1e-5)
    assert torch.equal(held, free.counts)


def test_budgets_beyond_what_there_is_are_refused():
    with pytest.raises(ValueError, match="codeword_budget must be at most 8, got 9"):
        OnlineProductQuantizer(6, 8, 3, codeword_budget=9)


def test_largest():
    assert largest(torch.tensor([3.0, 1.0, 2.0]), 2).tolist() == [True, False, True]
    assert largest(torch.tensor([3.0, 1.0, 2.0]), None).all()


def test_one_part_moves_as_scikit_learns_mini_batch_kmeans():
    cluster = pytest.importorskip("sklearn.cluster")
    online, stream = OnlineProductQuantizer(6, 8, 1), data(400).split(50)
    theirs = cluster.MiniBatchKMeans(
        8,
        init=online.codebooks[0].detach().clone().numpy(),
        n_init=1,
        reassignment_ratio=0,
        max_no_improvement=None,
    )
    for batch in stream:
        online.partial_fit(batch)
        theirs.partial_fit(batch.numpy())
    torch.testing.assert_close(
        online.codebooks[0].detach(), torch.from_numpy(theirs.cluster_centers_).float(), rtol=0, atol=1e-4
    )


@pytest.mark.claim
def test_follows_a_drifting_stream():
    """16 bits, ten batches whose mean wanders; error on the last, unseen batch, three seeds.

    The running mean: at least 40 % below the codebooks of the first batch, above those refitted on everything. Half
    the budget, of codebooks or of codewords: at most 12 % above the full one. With a window of three batches: at least
    half of the way from frozen to refitted on the window, and 20 % below the plain running mean.
    """
    *stream, newest = drift()
    for seed in range(3):
        frozen = ProductQuantizer(32, 16, 4).fit(stream[0], seed=seed)
        online, by_codebooks, by_codewords, window = (
            OnlineProductQuantizer(32, 16, 4, **options).fit(stream[0], seed=seed)
            for options in ({}, {"codebook_budget": 2}, {"codeword_budget": 8}, {})
        )
        stored = [window.encode(stream[0])]
        for index, batch in enumerate(stream[1:], 1):
            for each in (online, by_codebooks, by_codewords):
                each.partial_fit(batch)
            stored.append(window.insert(batch))
            if index >= 3:
                window.remove(stream[index - 3], stored[index - 3])
        refit = ProductQuantizer(32, 16, 4).fit(torch.cat(stream), seed=seed)
        recent = ProductQuantizer(32, 16, 4).fit(torch.cat(stream[-3:]), seed=seed)
        assert error(refit, newest) < error(online, newest) < 0.6 * error(frozen, newest)
        assert max(error(by_codebooks, newest), error(by_codewords, newest)) < 1.12 * error(online, newest)
        halfway = (error(frozen, newest) + error(recent, newest)) / 2
        assert error(window, newest) < min(halfway, 0.8 * error(online, newest))
