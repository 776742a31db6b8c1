"""The masked transformer: hidden codes are hidden, the class counts, tables are shared between both ends."""

import torch

from impl.networks.masked_transformer import MaskedTransformer


def network():
    torch.manual_seed(0)
    return MaskedTransformer(6, (5, 3), 4, 16, 1, 2).eval()


def test_hidden_codes_cannot_be_seen_and_shown_ones_are():
    model, codes, classes = network(), torch.zeros(2, 6, 2).long(), torch.tensor([1, 2])
    hidden = torch.zeros(2, 6).bool()
    hidden[:, 2] = True
    before = model(codes, hidden, classes)
    assert [logits.shape for logits in before] == [(2, 6, 5), (2, 6, 3)]
    for place, same in ((2, True), (3, False)):
        changed = codes.clone()
        changed[:, place] = 2
        assert all(
            torch.equal(a, b) == same for a, b in zip(before, model(changed, hidden, classes), strict=True)
        )
    assert not torch.equal(before[0], model(codes, hidden, torch.tensor([3, 2]))[0])


def test_embeddings_and_logits_share_their_tables():
    model = network()
    names = [name for name, parameter in model.named_parameters() if parameter.shape[0] == 5]
    assert names == ["tables.0.weight", "biases.0"]
    codes, hidden = torch.zeros(1, 6, 2).long(), torch.ones(1, 6).bool()
    before = model(codes, hidden, torch.tensor([0]))[0]
    with torch.no_grad():
        model.tables[0].weight[4] += 1.0
    after = model(codes, hidden, torch.tensor([0]))[0]
    assert torch.equal(before[..., :4], after[..., :4]) and not torch.equal(before[..., 4], after[..., 4])
