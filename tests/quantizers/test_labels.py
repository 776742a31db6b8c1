"""Labels: what is legal passes, what is not is named."""

import pytest
import torch

from impl.quantizers.labels import check_labels


def test_what_is_legal_passes():
    check_labels(torch.tensor([0, 2, 1]), 3, 3)


@pytest.mark.parametrize(
    ("labels", "count", "message"),
    [
        (torch.tensor([0, 1]), 3, r"labels must be one a vector, at least one, got \(2,\) for 3 vectors"),
        (torch.tensor([], dtype=torch.int64), 0, "at least one"),
        (torch.tensor([0, 3, 1]), 3, "labels must be integers from 0 to 2, got 0 to 3"),
        (torch.tensor([0, -1, 1]), 3, "got -1 to 1"),
        (torch.tensor([0.0, 1.0, 2.0]), 3, "labels must be integers"),
    ],
)
def test_what_is_not_is_named(labels, count, message):
    with pytest.raises(ValueError, match=message):
        check_labels(labels, count, 3)
