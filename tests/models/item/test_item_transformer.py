"""The transformer over whole items: sees the past alone, learns what is certain."""

import torch
import torch.nn.functional as F

from impl.data.interactions import PADDING, Interactions
from impl.models.item.item_transformer import ItemTransformer
from impl.training import train


def test_only_the_past_counts():
    model = ItemTransformer.tiny().eval()
    histories = torch.tensor([[3, 1, 4, 1, 5], [3, 1, 4, 9, 2]])
    first, second = model.logits(histories)
    torch.testing.assert_close(first[:3], second[:3])
    assert not torch.allclose(first[3], second[3])
    short = torch.tensor([[3, 1, 4, PADDING, PADDING]])
    users = torch.zeros(1, dtype=torch.int64)
    torch.testing.assert_close(
        model.search(short, users, 5).scores[0], first[2].log_softmax(dim=0).topk(5).values.detach()
    )


def test_the_loss_by_hand():
    """Every place predicts the next; behind the last stands the target."""
    model = ItemTransformer.tiny().eval()
    histories, users, targets = (
        torch.tensor([[3, 1, PADDING], [2, 0, 7]]),
        torch.zeros(2).long(),
        torch.tensor([4, 5]),
    )
    logits = model.logits(histories)
    wanted = [(0, 0, 1), (0, 1, 4), (1, 0, 0), (1, 1, 7), (1, 2, 5)]
    expected = torch.stack(
        [F.cross_entropy(logits[row, place], torch.tensor(item)) for row, place, item in wanted]
    )
    torch.testing.assert_close(model((histories, users, targets)).losses["cross_entropy"], expected.mean())


def test_learns_a_cycle():
    """Item n is always followed by n + 1: the last of a sequence is found at rank one."""
    cycle = tuple((torch.arange(6) + start) % 30 for start in range(30))
    data = Interactions(tuple(map(str, range(30))), cycle)
    model = ItemTransformer.tiny()
    train(model, data.examples("train", 8), steps=300, learning_rate=5e-3, progress=False)
    histories, users, targets = data.examples("test", 8).tensors
    assert (model.eval().search(histories, users, 1).rows[:, 0] == targets).float().mean() > 0.9
