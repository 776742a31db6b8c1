"""TIGER: only ids of the catalogue, the exact ranking when wide, Hugging Face's own beams, the claim."""

import copy

import pytest
import torch

from impl.data.interactions import PADDING, catalog_texts, simulated
from impl.data.sentences import sentence_vectors
from impl.language.vocabulary import BEGIN, END
from impl.models.item.item_transformer import ItemTransformer
from impl.models.item.tiger import TIGER
from impl.retrieval import ndcg_at, recall_at
from impl.tokenizers.item.tiger import ItemRQVAE
from impl.training import train

HISTORIES = torch.tensor([[3, 1, 4, PADDING], [29, PADDING, PADDING, PADDING], [5, 6, 7, 8]])
USERS = torch.tensor([0, 9, 7])


@pytest.fixture(scope="module")
def model():
    """Tiny, its weights made so large that its probabilities are far from uniform."""
    model = TIGER.tiny().eval()
    with torch.no_grad():
        model.backbone.shared.weight.mul_(10)
    return model


def every_log_probability(model, histories, users):
    """The summed log-probability (B, N) of every item's codes, by teacher forcing."""
    batch, count = len(histories), len(model.item_ids)
    rows = torch.arange(batch).repeat_interleave(count)
    items = torch.arange(count).repeat(batch)
    with torch.no_grad():
        logits = model((histories[rows], users[rows], items)).logits
    chosen = logits.log_softmax(dim=-1).gather(2, model.item_ids[items][..., None])
    return chosen[..., 0].sum(dim=1).unflatten(0, (batch, count))


def test_as_wide_as_the_catalogue_it_is_the_exact_ranking(model):
    expected = every_log_probability(model, HISTORIES, USERS)
    beams = model.search(HISTORIES, USERS, width=40)
    assert beams.rows.sort(dim=1).values.tolist() == [list(range(30))] * 3
    torch.testing.assert_close(
        beams.scores, expected.sort(dim=1, descending=True).values, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(expected.gather(1, beams.rows), beams.scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [1, 4, 10])
def test_beams_are_those_of_hugging_face(model, width):
    ids, mask = model.written(HISTORIES, USERS)
    starts = [model.vocabulary.span("item", place).start for place in range(model.length)]

    def allowed(_, written):
        """Hugging Face asks for what may follow `begin` and the codes so far."""
        prefix = written[1:] - written.new_tensor(starts[: len(written) - 1])
        return (model.tree.allowed(prefix).nonzero()[:, 0] + starts[len(written) - 1]).tolist()

    found = model.backbone.generate(
        input_ids=ids,
        attention_mask=mask,
        num_beams=width,
        num_return_sequences=width,
        max_new_tokens=model.length,
        prefix_allowed_tokens_fn=allowed,
        do_sample=False,
    )
    expected = model.item_ids[model.search(HISTORIES, USERS, width).rows]
    assert torch.equal(found[:, 1:].unflatten(0, (3, width)), expected)


def test_the_encoder_reads_user_codes_and_end(model):
    ids, mask = model.written(HISTORIES, USERS)
    vocabulary = model.vocabulary
    assert ids[0, 0] == vocabulary.span("user")[0] and ids[1, 0] == vocabulary.span("user")[9 % 8]
    assert torch.equal(ids[0, 1:10], model.item_ids[[3, 1, 4]].flatten())
    assert mask.sum(dim=1).tolist() == [1 + 9 + 1, 1 + 3 + 1, 1 + 12 + 1]
    for row, length in zip(ids, mask.sum(dim=1), strict=True):
        assert (row[length - 1 :] == vocabulary.mark(END)).all()
        assert vocabulary.kind(int(row[length - 2])) == "item"
    config = model.backbone.config
    assert (config.decoder_start_token_id, config.pad_token_id) == (
        vocabulary.mark(BEGIN),
        vocabulary.mark(END),
    )


def test_what_fills_a_history_up_does_not_count(model):
    longer = torch.cat([HISTORIES, torch.full((3, 2), PADDING)], dim=1)
    for before, after in zip(
        model.search(HISTORIES, USERS, 30), model.search(longer, USERS, 30), strict=True
    ):
        torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)


def test_learns_and_runs_in_half_precision():
    model = TIGER.tiny()
    batch = (HISTORIES, USERS, torch.tensor([1, 2, 3]))
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch)
    output.losses["cross_entropy"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model.backbone.shared.weight.grad[model.item_ids[1]].abs().sum() > 0
    assert len(model.eval().search(HISTORIES, USERS, 5).rows.unique()) <= 30


def test_a_saved_model_takes_its_ids_along(model):
    """Another instance with the same ids in another order finds the same items after loading."""
    other = TIGER.tiny().eval()
    other.item_ids.copy_(other.item_ids.flip(0))
    other.tree.row_of_leaf.copy_(29 - other.tree.row_of_leaf)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.search(HISTORIES, USERS, 30).rows, model.search(HISTORIES, USERS, 30).rows)


@pytest.mark.gpu
def test_a_gpu_finds_what_the_cpu_finds(model):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    expected = model.search(HISTORIES, USERS, 30).scores
    found = copy.deepcopy(model).cuda().search(HISTORIES.cuda(), USERS.cuda(), 30).scores
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


def semantic_and_other(seed):
    """R@10 and NDCG@10 on 700 users of TIGER with semantic ids, with the same ids shuffled, and of whole items."""
    texts = catalog_texts()
    vectors = sentence_vectors(texts)
    torch.manual_seed(seed)
    tokenizer = ItemRQVAE(**ItemRQVAE.SMALL)
    train(tokenizer, vectors, steps=300, batch_size=256, learning_rate=3e-3, seed=seed, progress=False)
    ids, data = tokenizer.eval().ids(vectors), simulated(texts, vectors, seed=seed)
    histories, users, targets = data.examples("test", 8).tensors
    makers = {
        "semantic": (lambda: TIGER(ids, 64), 4e-3),
        "shuffled": (lambda: TIGER(ids.shuffled(seed), 64), 4e-3),
        "whole items": (lambda: ItemTransformer(len(texts), 8), 2e-3),
    }
    scores = {}
    for name, (make, rate) in makers.items():
        torch.manual_seed(seed)
        model = make()
        train(model, data.examples("train", 8), steps=450, learning_rate=rate, seed=seed, progress=False)
        found = model.eval().search(histories, users, 20).rows
        scores[name] = (recall_at(found, targets, 10), ndcg_at(found, targets, 10))
    return scores


@pytest.mark.claim
@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_meaning_in_the_ids_helps_and_whole_items_are_ahead(seed):
    """Twice as much or more than with shuffled ids; at these few steps one embedding an item does better still."""
    scores = semantic_and_other(seed)
    for measure in (0, 1):
        semantic, shuffled, whole = (
            scores[name][measure] for name in ("semantic", "shuffled", "whole items")
        )
        assert semantic > 2 * shuffled, scores
        assert whole > semantic, scores
