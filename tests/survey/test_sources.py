"""A malformed file gives one sentence with file and line, whatever is wrong with it."""

import pytest

VQ = "survey/systems/vq-vae.yml"
BIB = "survey/papers.bib"

# (file, its whole text, the line of the problem, what is said)
MALFORMED = [
    (VQ, "name: VQ-VAE\ntasks: [a\nkind: b\n", 3, "malformed YAML: while parsing a flow sequence"),
    (VQ, "name: VQ-VAE\n\tcite: x\n", 2, "malformed YAML: while scanning a plain scalar found a tab"),
    (VQ, "- a list\n", 1, "the file must be a mapping of keys to values, given ['a list']"),
    (VQ, "", 1, "the file must be a mapping of keys to values, given None"),
    (VQ, "name: &a [*a]\n", 1, "malformed YAML: a value contains itself"),
    (VQ, "name: a\n---\nname: b\n", 2, "malformed YAML: expected a single document"),
    (VQ, "name: !!python/object:os.system x\n", 1, "malformed YAML: could not determine a constructor"),
    (VQ, "name: a\ncite: 2020-99-99\n", 1, "malformed YAML: month must be in 1..12"),
    (VQ, "cite: oord2017neural\nkind: quantizer\nsections: ['2.1']\n", 1, "the key 'name' is missing"),
    ("survey/sections.yml", "a: b\n", 1, "the file must be a list of sections"),
    ("survey/saved_queries.yml", "a: b\n", 1, "must be a list of saved queries"),
    (
        "survey/saved_queries.yml",
        "- {name: a, query: b, about: c}\n- {name: d}\n",
        2,
        "a saved query has the keys",
    ),
    (
        "survey/saved_queries.yml",
        "- {name: a, query: b, about: c}\n- {name: a, query: b, about: c}\n",
        2,
        "the name 'a' is used twice",
    ),
    (
        "survey/saved_queries.yml",
        "- name: a\n  query: 'technique:VQQ'\n  about: c\n",
        2,
        "query: unknown technique 'VQQ' (the nearest is 'VQ')",
    ),
    ("survey/saved_queries.yml", "- name: a\n  query: '(a'\n  about: c\n", 2, "query: "),
    (
        "survey/results/vq.csv",
        "id,value\nvq-vae,1\nvq-vea,2\n",
        3,
        "id must name a work, a legal value (the nearest is 'vq-vae')",
    ),
    (
        "survey/results/vq.csv",
        "name,value\nvq-vae,1\n",
        1,
        "the first row must name the columns, 'id' among them",
    ),
    ("survey/results/vq.csv", 'id,value\nvq-vae,"1\n', 2, "malformed CSV"),
    (BIB, "@misc{a,\n title = {A}\n", 1, "malformed BibTeX near '@misc{a, title = {A}'"),
    (BIB, "% fine\n\nstray\n", 3, "text outside any BibTeX entry"),
    (BIB, '@string{nips = "Neural"}\n', 1, "@string is not used here"),
    (BIB, "@misc{a,\n title = {A},\n title = {B},\n}\n", 1, "a BibTeX entry has fields twice: title"),
    (BIB, "@misc{a,\n title = nips,\n}\n", 1, "title of 'a' must stand in braces, given nips"),
    (BIB, "@misc{a,\n year = {2020},\n title = {T},\n}\n", 1, "'a' has no author"),
]


@pytest.mark.parametrize(("file", "text", "line", "message"), MALFORMED)
def test_a_malformed_file_is_reported_at_its_line(repository, file, text, line, message):
    repository.write(file, text)
    found = repository.problems()
    assert any(p[:2] == (file, line) and p[2].startswith(message) for p in found), found


def test_bytes_that_are_no_text(repository):
    (repository.folder / VQ).write_bytes(b"name: a\ncite: \xff\n")
    assert (VQ, 2, "not UTF-8: byte 0xff") in repository.problems()


def test_control_characters_in_yaml_are_found_on_their_line(repository):
    repository.write(VQ, "name: a\ncite: \x01\n")
    assert any(p[:2] == (VQ, 2) and p[2].startswith("malformed YAML") for p in repository.problems())
