"""The comparison at equal bits: every linked quantizer takes part or says why not, and the bits are equal."""

import pytest

from impl import compare
from impl.compare import APART, COLUMNS, FITTED, NEURAL, linked, make, read, write


def test_every_linked_quantizer_takes_part_or_says_why_not():
    known = [*NEURAL, *FITTED, *APART]
    assert set(linked()) == set(known)
    assert all(reason.strip() for reason in APART.values())
    assert not set(APART) & (set(NEURAL) | set(FITTED))


@pytest.mark.parametrize(("recipes", "bits"), [(NEURAL, 6), (FITTED, 16)], ids=["neural", "fitted"])
def test_bits_are_equal(recipes, bits):
    for id, arguments in recipes.items():
        if id != "vqgan-lc":  # trains an encoder for its features first; its table has 64 rows
            assert make(id, arguments).bits == pytest.approx(bits), id


def test_rows_come_back_from_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "FITTED", {"pq": FITTED["pq"], "rvq": FITTED["rvq"]})
    small = compare.mixture("train")[:300]
    rows = list(compare.fitted(1, lambda split: small))
    write(tmp_path / "fitted.csv", rows)
    again = read("fitted", tmp_path)
    assert again == [{name: str(value) for name, value in row.items()} for row in rows]
    assert tuple(again[0]) == COLUMNS
    ratios = [float(row["value"]) for row in again if row["id"] == "pq" and "time" in row["metric"]]
    assert ratios == [1.0, 1.0]


def test_the_stored_results_are_of_what_is_linked():
    assert {row["id"] for row in read("neural")} == set(NEURAL)
    assert {row["id"] for row in read("fitted")} == set(FITTED)
    for name in ("neural", "fitted"):
        seeds = {(row["id"], row["seed"]) for row in read(name)}
        assert len(seeds) == 3 * len({id for id, _ in seeds})
