"""A language model over one vocabulary of text and codes: a Hugging Face backbone, its loss, constrained writing."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LogitsProcessorList, PreTrainedModel

from impl.language.grammar import Grammar
from impl.language.packing import IGNORED
from impl.language.vocabulary import END, Vocabulary, extend


class Written(NamedTuple):
    """Logits (B, L, size) and named losses."""

    logits: Tensor
    losses: dict[str, Tensor]


def random_backbone(kind: str, vocabulary: Vocabulary, **numbers: Any) -> PreTrainedModel:
    """Build a backbone with random weights, offline: `kind` is a model type of Hugging Face (llama, gpt2, qwen3, ...).

    Args:
        kind: the model type.
        vocabulary: decides the number of ids.
        numbers: of its configuration, under its own names: hidden_size, num_hidden_layers, ...
    """
    end = vocabulary.mark(END)
    config = AutoConfig.for_model(
        kind,
        vocab_size=int(vocabulary.size),
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
        **numbers,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def pretrained_backbone(name: str, vocabulary: Vocabulary) -> PreTrainedModel:
    """Load a causal language model by hub id or folder and give it the vocabulary's rows.

    The vocabulary's text must be the model's own ids: `Vocabulary(model.config.vocab_size, ...)`.
    """
    return extend(AutoModelForCausalLM.from_pretrained(name), vocabulary)


class LanguageModel(nn.Module):
    """Predicts the next id of packed documents.

    Args:
        backbone: a causal model of Hugging Face whose rows are the vocabulary's.
        vocabulary: of the ids.
        z_weight: of the squared log of the softmax's normaliser, which keeps logits from drifting
            (chameleonteam2024chameleon); 0 leaves the loss out.
    """

    def __init__(self, backbone: PreTrainedModel, vocabulary: Vocabulary, z_weight: float = 0.0) -> None:
        super().__init__()
        rows = backbone.get_input_embeddings().weight.shape[0]
        if rows != vocabulary.size:
            raise ValueError(f"backbone must have a row for each of {vocabulary.size} ids, it has {rows}.")
        self.backbone, self.vocabulary, self.z_weight = backbone, vocabulary, z_weight

    def forward(self, batch: dict[str, Tensor]) -> Written:
        """Score a batch as `Packed.batch` gives it; without a mask each row is one document."""
        logits = self.backbone(
            input_ids=batch["ids"],
            attention_mask=batch.get("mask"),
            position_ids=batch["positions"],
            use_cache=False,
        ).logits
        predicted, labels = logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten()
        losses = {"cross_entropy": F.cross_entropy(predicted, labels, ignore_index=IGNORED)}
        if self.z_weight:
            normaliser = predicted[labels != IGNORED].logsumexp(dim=-1)
            losses["z"] = self.z_weight * normaliser.square().mean()
        return Written(logits, losses)

    @torch.no_grad()
    def write(
        self,
        prompt: Tensor,
        grammar: Grammar,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Continue prompts (B, n) of one length to at most `length` ids more, none of them illegal: (B, n + m).

        Args:
            prompt: ids, from `begin` on.
            grammar: what may follow.
            length: ids to add at most; a document that ends earlier is filled up with `end`.
            temperature: 0 takes the most probable id.
            top_k: keep the k most probable.
            seed: of the draw; the caller's random state stays as it was.
        """
        drawn = {"do_sample": True, "temperature": temperature, "top_k": top_k or 0}
        options = drawn if temperature else {"do_sample": False}
        with torch.random.fork_rng(devices=[prompt.device] if prompt.device.type == "cuda" else []):
            torch.manual_seed(seed)
            return self.backbone.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                logits_processor=LogitsProcessorList([grammar]),
                max_new_tokens=length,
                **options,
            )
