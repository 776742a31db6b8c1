"""QINCo2: the pairwise decoder, its shortlist, and its claim."""

import pytest
import torch

from impl.benches import mixture, normalised_error
from impl.quantizers.beam import greedy_codes
from impl.quantizers.qinco import QINCo
from impl.quantizers.qinco2 import PairwiseDecoder, QINCo2, WideCodewordNetwork
from impl.quantizers.tables import CodewordTables
from impl.rerank import rerank
from impl.search import LookupIndex, exact_neighbours, recall_at


def test_the_network_by_hand():
    torch.manual_seed(0)
    network = WideCodewordNetwork(4, 6, 1, 8)
    c, x = torch.randn(5, 4), torch.randn(5, 4)
    assert torch.equal(network(c, x), c)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    z = c @ network.embed.weight.T
    z = z + torch.cat([z, x], dim=1) @ network.join.weight.T + network.join.bias
    block = network.blocks[0]
    z = z + (z @ block[0].weight.T).clamp(min=0) @ block[2].weight.T
    torch.testing.assert_close(network(c, x), c + z @ network.project.weight.T)


def test_pair_tables_are_means_and_each_removes_error():
    vectors = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    codes = greedy_codes(vectors, torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1)))
    decoder = PairwiseDecoder(codes, vectors, 4, 3)
    assert decoder.errors == sorted(decoder.errors, reverse=True)
    first, second = decoder.pairs[0]
    chosen = (codes[:, first] == codes[0, first]) & (codes[:, second] == codes[0, second])
    row = codes[0, first] * 4 + codes[0, second]
    torch.testing.assert_close(decoder.tables[0][row], vectors[chosen].mean(dim=0))
    assert (decoder.decode(codes) - vectors).square().mean().item() == pytest.approx(
        decoder.errors[-1], rel=1e-5
    )


class Pairs:
    """A quantizer for search: QINCo2's codes, seen through the tables of a pairwise decoder."""

    def __init__(self, quantizer, decoder):
        self.quantizer, self.decoder = quantizer, decoder

    def encode(self, latents):
        return self.decoder.encode(self.quantizer.encode(latents))

    def codeword_tables(self):
        return CodewordTables(self.decoder.tables, [0] * len(self.decoder.tables))


def test_a_shortlist_by_pairs_ranked_again_nears_the_search_among_all_decoded():
    items, queries = mixture("train")[:2000], mixture("test")[:100]
    torch.manual_seed(0)
    quantizer = QINCo2(32, 16, 4, steps=60).fit(items)
    codes = quantizer.encode(items)
    decoder = PairwiseDecoder(codes, items, 16, 4)
    _, shortlist = LookupIndex(Pairs(quantizer, decoder), items).search(queries, 50)
    _, found = rerank(queries, shortlist, codes, quantizer.decode, 1)
    best = exact_neighbours(queries, quantizer.decode(codes).detach(), 1)[:, 0]
    assert recall_at(found, best, 1) > 0.9
    assert recall_at(found, best, 1) > recall_at(shortlist, best, 1) + 0.2


@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_less_error_than_qinco_at_a_quarter_of_the_networks_work(seed):
    """16 bits on the mixture: 4 of 16 codewords tried for 4 partial sums, at least 3 % less error than greedy QINCo."""
    train, test = mixture("train"), mixture("test")
    torch.manual_seed(seed)
    first = normalised_error(QINCo(32, 16, 4, steps=300), train, test, seed)
    torch.manual_seed(seed)
    second = normalised_error(QINCo2(32, 16, 4, steps=300), train, test, seed)
    assert second < 0.97 * first
