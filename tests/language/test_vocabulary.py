"""One space of ids: blocks do not overlap, codes come back, a pretrained model keeps its text."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from impl.language.model import pretrained_backbone, random_backbone
from impl.language.vocabulary import Vocabulary, extend


@pytest.fixture
def vocabulary():
    return Vocabulary(256, {"image": (64,), "music": (8, 16)})


def test_blocks_are_disjoint_and_cover_every_id(vocabulary):
    blocks = [list(vocabulary.span("text")), list(vocabulary.span("image"))]
    blocks += [list(vocabulary.span("music", level)) for level in (0, 1)]
    blocks.append(
        [vocabulary.mark(m) for m in ("begin", "end", "<image>", "</image>", "<music>", "</music>")]
    )
    assert sorted(id for block in blocks for id in block) == list(range(vocabulary.size))
    assert vocabulary.size == 256 + 6 + 64 + 8 + 16


def test_codes_come_back_and_levels_differ(vocabulary):
    codes = torch.tensor([[7, 0], [0, 15], [7, 7]])
    ids = vocabulary.ids("music", codes)
    assert torch.equal(vocabulary.to_codes("music", ids), codes)
    assert [vocabulary.kind(id) for id in ids.tolist()] == ["music"] * 6
    assert len(set(vocabulary.ids("music", torch.tensor([[7, 7]])).tolist())) == 2
    grid = torch.arange(16).reshape(4, 4, 1)
    assert torch.equal(vocabulary.to_codes("image", vocabulary.ids("image", grid)), grid.reshape(16, 1))


def test_every_id_has_a_kind(vocabulary):
    kinds = [vocabulary.kind(id) for id in range(vocabulary.size)]
    assert kinds.count("text") == 256
    assert kinds.count("music") == 24
    assert kinds[256:262] == ["begin", "end", "<image>", "</image>", "<music>", "</music>"]
    with pytest.raises(ValueError, match="in \\[0"):
        vocabulary.kind(vocabulary.size)


def test_without_text_the_marks_come_first():
    vocabulary = Vocabulary(0, {"item": (4, 2)})
    assert [vocabulary.kind(id) for id in range(5)] == ["begin", "end", "<item>", "</item>", "item"]
    assert (vocabulary.size, list(vocabulary.span("text"))) == (10, [])


def test_bad_arguments_are_refused(vocabulary):
    with pytest.raises(ValueError, match='"text"'):
        Vocabulary(256, {"text": (4,)})
    with pytest.raises(ValueError, match="at least 1"):
        Vocabulary(256, {"image": ()})
    with pytest.raises(ValueError, match="that of text at least 0"):
        Vocabulary(-1, {"image": (4,)})
    with pytest.raises(ValueError, match="2 columns"):
        vocabulary.ids("music", torch.zeros(3, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="below"):
        vocabulary.ids("image", torch.tensor([[64]]))
    with pytest.raises(ValueError, match="whole frames"):
        vocabulary.to_codes("music", torch.tensor([300]))
    with pytest.raises(ValueError, match="level at their place"):
        vocabulary.to_codes("music", vocabulary.ids("music", torch.tensor([[1, 2]])).flip(0))
    with pytest.raises(KeyError, match="image, music"):
        vocabulary.ids("video", torch.tensor([[1]]))
    with pytest.raises(KeyError, match="<image>"):
        vocabulary.mark("<video>")


@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_checkpoint_is_extended_and_keeps_its_text(tmp_path, tied):
    torch.manual_seed(0)
    text_only = Vocabulary(50, {})
    numbers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    small = random_backbone("llama", text_only, tie_word_embeddings=tied, **numbers)
    small.save_pretrained(tmp_path / "small")
    rows = small.config.vocab_size
    vocabulary = Vocabulary(rows, {"image": (64,)})
    larger = pretrained_backbone(str(tmp_path / "small"), vocabulary)
    for table in ("get_input_embeddings", "get_output_embeddings"):
        old, new = getattr(small, table)().weight, getattr(larger, table)().weight
        assert torch.equal(new[:rows], old)
        assert new.shape[0] == vocabulary.size
        assert len(new[rows:].unique(dim=0)) == len(new[rows:])
    ids = torch.randint(rows, (2, 7))
    torch.testing.assert_close(larger(ids).logits[..., :rows], small(ids).logits)
    larger.save_pretrained(tmp_path / "larger")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "larger")
    torch.testing.assert_close(again(ids).logits, larger(ids).logits)
    with pytest.raises(ValueError, match=f"the model's {rows} ids"):
        extend(small, Vocabulary(9, {}))
