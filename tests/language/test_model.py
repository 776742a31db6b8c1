"""The language model's losses, written again by hand, for several backbones."""

import pytest
import torch

from impl.language.model import LanguageModel, random_backbone
from impl.language.packing import IGNORED, Segment, pack, text
from impl.language.vocabulary import Vocabulary

VOCABULARY = Vocabulary(256, {"image": (16,)})
LLAMA = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
BACKBONES = {
    "llama": LLAMA,
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64},
    "qwen3": {**LLAMA, "num_key_value_heads": 2, "head_dim": 8},
}


@pytest.mark.parametrize("kind", BACKBONES)
def test_losses_by_hand(kind):
    torch.manual_seed(0)
    model = LanguageModel(
        random_backbone(kind, VOCABULARY, **BACKBONES[kind]), VOCABULARY, z_weight=0.5
    ).eval()
    documents = [
        [Segment("text", text("ab"), False), Segment("image", torch.arange(4)[:, None])],
        [Segment("text", text("c"))],
    ]
    packed = pack(documents, VOCABULARY)
    output = model(packed.batch())
    nats, squares = [], []
    for row in range(2):
        for place in range(packed.ids.shape[1] - 1):
            label = int(packed.labels[row, place + 1])
            if label != IGNORED:
                logits = output.logits[row, place]
                nats.append(logits.logsumexp(0) - logits[label])
                squares.append(logits.logsumexp(0) ** 2)
    torch.testing.assert_close(output.losses["cross_entropy"], torch.stack(nats).mean())
    torch.testing.assert_close(output.losses["z"], 0.5 * torch.stack(squares).mean())


def test_the_rows_must_fit():
    with pytest.raises(ValueError, match="a row for each"):
        LanguageModel(random_backbone("llama", Vocabulary(9, {}), **LLAMA), VOCABULARY)
