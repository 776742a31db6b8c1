"""TIGER: the next item is not looked up, it is generated, code after code.

Parts: semantic ids of the catalogue (`tokenizers.item`), one vocabulary of users and of the codes of each place
(`language.vocabulary`), the T5 of Hugging Face from scratch, beam search in a tree of the ids (`sampling.prefix_tree`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from impl.language.vocabulary import BEGIN, END, Vocabulary
from impl.sampling.prefix_tree import Beams, PrefixTree, beam_search
from impl.tokenizers.item.semantic_ids import SemanticIds, semantic_ids

#: A small T5, trained for a minute: no dropout, and weights that start smaller than T5's own, which suit Adafactor
#: and long training. The paper's has d_model 128, d_ff 1024, 4 layers each, 6 heads of 64, and dropout 0.1.
SMALL = {
    "d_model": 64,
    "d_ff": 128,
    "d_kv": 16,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
    "initializer_factor": 0.2,
}


class Predicted(NamedTuple):
    """Logits (B, L, size) of the next item's codes, and the loss in nats a code."""

    logits: Tensor
    losses: dict[str, Tensor]


class TIGER(nn.Module):
    """Generative retrieval with semantic ids (rajput2023recommender).

    The encoder reads the user, hashed to one of some tokens, and the codes of the items so far, each place of an id
    with its own range of the vocabulary; the decoder writes the codes of the next item. Retrieval is a beam search that
    only ever writes ids of the catalogue.

    Args:
        ids: of the N items.
        user_tokens: how many tokens users share; the paper has 2,000.
        numbers: of T5's configuration, under its own names.
    """

    def __init__(self, ids: SemanticIds, user_tokens: int = 2000, **numbers: Any) -> None:
        super().__init__()
        self.user_tokens, self.length = user_tokens, len(ids.sizes)
        self.vocabulary = Vocabulary(0, {"user": (user_tokens,), "item": ids.sizes})
        self.tree = PrefixTree(ids.codes, ids.sizes)
        item_ids = self.vocabulary.ids("item", ids.codes).reshape(ids.codes.shape)
        self.register_buffer("item_ids", item_ids)
        self.backbone = t5_backbone(self.vocabulary, **{**SMALL, **numbers})

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a model of 30 items with random codes, 2 of 4 and the number that tells equals apart."""
        torch.manual_seed(seed)
        return cls(semantic_ids(torch.randint(4, (30, 2)), (4, 4)), 8, d_model=16, d_ff=32, d_kv=8)

    def forward(self, batch: Sequence[Tensor]) -> Predicted:
        """Return logits and loss of histories (B, n), users (B,) and next items (B,), as `Interactions` gives them."""
        histories, users, targets = batch
        ids, mask = self.written(histories, users)
        labels = self.item_ids[targets]
        logits = self.backbone(input_ids=ids, attention_mask=mask, labels=labels).logits
        loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        return Predicted(logits, {"cross_entropy": loss})

    def written(self, histories: Tensor, users: Tensor) -> tuple[Tensor, Tensor]:
        """Write users (B,), histories (B, n) and `end` as ids (B, n L + 2), with the mask of those that count.

        T5 knows places only as distances: without the `end` no code could tell that it belongs to the latest item.
        """
        codes = self.item_ids[histories.clamp(min=0)]
        known = (histories >= 0)[..., None].expand_as(codes).flatten(1)
        end = self.vocabulary.mark(END)
        codes = F.pad(codes.flatten(1).where(known, end), (0, 1), value=end)
        user = self.vocabulary.span("user").start + users % self.user_tokens
        # Histories start at the left: the mask reaches one place beyond the last code, and two with the user's.
        return torch.cat([user[:, None], codes], dim=1), F.pad(known, (2, 0), value=True).long()

    @torch.no_grad()
    def search(self, histories: Tensor, users: Tensor, width: int = 20) -> Beams:
        """Return the items, best first, that a beam search of this width finds for histories (B, n) of users (B,).

        From a width of N on, these are all items in the order of their log-probabilities. In evaluation mode.
        """
        ids, mask = self.written(histories, users)
        states = self.backbone.encoder(input_ids=ids, attention_mask=mask).last_hidden_state

        def score(prefixes: Tensor) -> Tensor:
            beams, place = prefixes.shape[1:]
            rows = (states.repeat_interleave(beams, dim=0), mask.repeat_interleave(beams, dim=0))
            logits = self._next(prefixes.flatten(0, 1), *rows)
            span = self.vocabulary.span("item", place)
            return logits.log_softmax(dim=-1)[:, span.start : span.stop].unflatten(0, (-1, beams))

        return beam_search(score, self.tree, len(histories), width)

    def _next(self, prefixes: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, size) of what follows codes (B, l), in float32."""
        starts = [self.vocabulary.span("item", place).start for place in range(prefixes.shape[1])]
        begin = prefixes.new_full((len(prefixes), 1), self.vocabulary.mark(BEGIN))
        given = torch.cat([begin, prefixes + prefixes.new_tensor(starts)], dim=1)
        output = self.backbone(
            encoder_outputs=(states,), attention_mask=mask, decoder_input_ids=given, use_cache=False
        )
        return output.logits[:, -1].float()


def t5_backbone(vocabulary: Vocabulary, **numbers: Any) -> T5ForConditionalGeneration:
    """Build a random encoder-decoder of Hugging Face's T5, whose rows are the vocabulary's.

    The decoder starts from `begin`, histories are filled up with `end`: neither is a code.
    """
    config = T5Config(
        vocab_size=int(vocabulary.size),
        decoder_start_token_id=vocabulary.mark(BEGIN),
        pad_token_id=vocabulary.mark(END),
        eos_token_id=vocabulary.mark(END),
        **numbers,
    )
    return T5ForConditionalGeneration(config)
