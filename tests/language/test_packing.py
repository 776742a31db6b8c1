"""Packing: what is written can be read back, labels and masks follow from the table, neighbours do not matter."""

import pytest
import torch

from impl.language.model import LanguageModel, random_backbone
from impl.language.packing import IGNORED, Segment, document_ids, pack, string, text, unpack
from impl.language.vocabulary import Vocabulary

VOCABULARY = Vocabulary(256, {"image": (64,), "music": (8, 16)})
DOCUMENTS = [
    [Segment("text", text("hi"), learned=False), Segment("image", torch.arange(6).reshape(2, 3, 1))],
    [Segment("music", torch.tensor([[1, 2], [3, 4]])), Segment("text", text("é"))],
    [Segment("text", text("alone"))],
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_is_read_back(document):
    ids, _ = document_ids(document, VOCABULARY)
    back = unpack(ids, VOCABULARY)
    assert [segment.kind for segment in back] == [segment.kind for segment in document]
    for mine, theirs in zip(document, back, strict=True):
        assert torch.equal(theirs.content.reshape(-1), mine.content.reshape(-1))
    assert all(string(s.content) in ("hi", "é", "alone") for s in back if s.kind == "text")


def test_labels_are_the_ids_of_what_is_learned():
    packed = pack(DOCUMENTS, VOCABULARY)
    assert packed.ids.shape == (3, 12)
    row, labels = packed.ids[0], packed.labels[0]
    assert labels[:3].tolist() == [IGNORED] * 3
    assert torch.equal(labels[3:12], row[3:12])
    assert [span.kind for span in packed.table[0]] == ["begin", "text", "image", "end"]
    assert [(span.start, span.stop) for span in packed.table[0]] == [(0, 1), (1, 3), (3, 11), (11, 12)]
    assert (packed.labels[2, 7:] == IGNORED).all()


def test_documents_in_one_row_do_not_see_each_other():
    torch.manual_seed(0)
    numbers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LanguageModel(random_backbone("llama", VOCABULARY, **numbers), VOCABULARY).eval()
    apart, together = pack(DOCUMENTS, VOCABULARY), pack(DOCUMENTS, VOCABULARY, length=32)
    assert together.ids.shape == (1, 32)
    assert [span.document for span in together.table[0]] == [0] * 4 + [1] * 4 + [2] * 3
    separate, joined = model(apart.batch()).logits, model(together.batch()).logits[0]
    place = 0
    for row, document in enumerate(DOCUMENTS):
        length = len(document_ids(document, VOCABULARY)[0])
        torch.testing.assert_close(
            joined[place : place + length], separate[row, :length], rtol=1e-4, atol=1e-5
        )
        assert together.positions[0, place : place + length].tolist() == list(range(length))
        place += length


def test_rows_are_filled_in_order():
    packed = pack(DOCUMENTS, VOCABULARY, length=24)
    assert packed.ids.shape == (2, 24)
    assert {span.document for span in packed.table[0]} == {0, 1}
    assert {span.document for span in packed.table[1]} == {2}


def test_a_place_sees_the_past_of_its_document_alone():
    mask = pack(DOCUMENTS, VOCABULARY, length=24).mask[0, 0]
    assert mask[5].nonzero().flatten().tolist() == list(range(6))
    assert mask[15].nonzero().flatten().tolist() == list(range(12, 16))


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["begin", "<image>", "end"], "before 'end'"),
        (["begin", "<image>"], "end inside it"),
        (["begin", "</image>"], "open a modality"),
        (["begin", "<image>", 65], "before 'text'"),
        (["begin", "<music>", 330, "</music>"], "level at their place|whole frames"),
    ],
)
def test_illegal_documents_are_refused(ids, says):
    numbers = torch.tensor([id if isinstance(id, int) else VOCABULARY.mark(id) for id in ids])
    with pytest.raises(ValueError, match=says):
        unpack(numbers, VOCABULARY)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        pack([], VOCABULARY)
    with pytest.raises(ValueError, match="longest document, 12"):
        pack(DOCUMENTS, VOCABULARY, length=8)
    with pytest.raises(ValueError, match="ids of text"):
        pack([[Segment("text", torch.tensor([256]))]], VOCABULARY)
