"""Constrained writing: never an illegal id, whatever the model wants."""

import pytest
import torch

from impl.language.grammar import Grammar, is_legal
from impl.language.model import LanguageModel, random_backbone
from impl.language.packing import Segment, document_ids, text, unpack
from impl.language.vocabulary import Vocabulary

VOCABULARY = Vocabulary(8, {"image": (4,), "music": (2, 3)})
GRAMMAR = Grammar(VOCABULARY, {"image": 2, "music": 2})


def kinds(ids):
    return {VOCABULARY.kind(id) for id in GRAMMAR.allowed(torch.tensor(ids)).nonzero().flatten().tolist()}


def test_what_may_follow():
    begin, end, image, music = (VOCABULARY.mark(mark) for mark in ("begin", "end", "<image>", "<music>"))
    assert kinds([begin]) == {"text", "end", "<image>", "<music>"}
    assert kinds([begin, image]) == {"image"}
    code = VOCABULARY.span("image")[0]
    assert kinds([begin, image, code, code]) == {"</image>"}
    assert kinds([begin, image, code, code, VOCABULARY.mark("</image>")]) == {
        "text",
        "end",
        "<image>",
        "<music>",
    }
    assert kinds([begin, end]) == {"end"}
    levels = [VOCABULARY.span("music", level) for level in (0, 1)]
    first = GRAMMAR.allowed(torch.tensor([begin, music])).nonzero().flatten().tolist()
    second = GRAMMAR.allowed(torch.tensor([begin, music, levels[0][1]])).nonzero().flatten().tolist()
    assert (first, second) == (list(levels[0]), list(levels[1]))


def test_written_documents_are_legal_and_others_are_not():
    document = [Segment("text", torch.tensor([1, 2])), Segment("music", torch.tensor([[0, 2], [1, 0]]))]
    ids, _ = document_ids(document, VOCABULARY)
    assert is_legal(ids, GRAMMAR)
    for place in range(1, len(ids) - 1):
        without = torch.cat([ids[:place], ids[place + 1 :]])
        assert is_legal(without, GRAMMAR) == (VOCABULARY.kind(int(ids[place])) == "text")
    assert not is_legal(ids[1:], GRAMMAR)


@pytest.mark.parametrize("temperature", [0, 1.0, 5.0])
def test_a_random_model_writes_only_legal_ids(temperature):
    torch.manual_seed(0)
    numbers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LanguageModel(random_backbone("llama", VOCABULARY, **numbers), VOCABULARY).eval()
    prompt = torch.full((16, 1), VOCABULARY.mark("begin"))
    written = model.write(prompt, GRAMMAR, 40, temperature)
    assert all(is_legal(row, GRAMMAR) for row in written)
    again = model.write(prompt, GRAMMAR, 40, temperature)
    assert torch.equal(written, again)
    finished = [row for row in written if (row == VOCABULARY.mark("end")).any()]
    if temperature:
        assert len(finished) > 4
    for row in finished:
        for segment in unpack(row, VOCABULARY):
            assert segment.kind == "text" or len(segment.content) == 2


def test_modalities_that_are_not_named_cannot_be_opened():
    grammar = Grammar(VOCABULARY, {"image": 2}, text=False)
    allowed = grammar.allowed(torch.tensor([VOCABULARY.mark("begin")])).nonzero().flatten().tolist()
    assert allowed == [VOCABULARY.mark("end"), VOCABULARY.mark("<image>")]
    with pytest.raises(ValueError, match="music"):
        grammar.allowed(torch.tensor([VOCABULARY.mark("<music>")]))
    with pytest.raises(ValueError, match="at least 1"):
        Grammar(VOCABULARY, {"image": 0})
    with pytest.raises(ValueError, match="video"):
        Grammar(VOCABULARY, {"video": 2})


def test_text_is_bytes():
    assert text("aé").tolist() == [97, 195, 169]
