"""Question files as users of llmcomp write them."""

import pytest

from distmatch.cli import main
from distmatch.errors import DataError
from distmatch.evals import LocalModel
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import (
    NextTokenProbe,
    ScaleProbe,
    WrittenProbe,
    read_llmcomp,
)
from tests.evals.suites.probes.made import saying
from tests.tiny import tiny_model, tiny_tokenizer

FILE = """
- name: drink
  type: next_token
  paraphrases: ["Tea or milk?", "Milk or tea?"]
  system: Be brief.
  top_logprobs: 3
- name: like
  type: rating
  paraphrases: ["From 0 to 10, how much do you like tea?"]
  max_rating: 10
  refusal_threshold: 0.75
- name: story
  type: free_form
  paraphrases: [Name an animal.]
  samples_per_paraphrase: 2
  max_tokens: 5
  temperature: 1
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "questions.yaml").write_text(FILE)
    return tmp_path / "questions.yaml"


@pytest.fixture(scope="module")
def subject():
    model = tiny_model("llama", num_hidden_layers=1)
    return LocalModel(model=model, tokenizer=tiny_tokenizer(), progress=False)


def test_each_question_is_a_suite_of_its_kind(path, subject):
    drink, like, story = read_llmcomp(path)
    assert isinstance(drink, NextTokenProbe)
    assert isinstance(like, ScaleProbe)
    assert isinstance(story, WrittenProbe)
    assert [one.name for one in (drink, like, story)] == ["drink", "like", "story"]
    row = measure(subject, drink).rows()[0]
    assert row["prompt"][0] == {"role": "system", "content": "Be brief."}
    tops = row["said"]["tokens"]
    assert len(tops) == 3
    assert row["kept"] == pytest.approx(sum(p for _, p in tops))
    assert row["likeliest"] == tops[0][1]
    assert len(measure(subject, story).rows()[0]["said"]["written"]) == 2


def test_a_rating_is_an_expected_value_that_is_not_turned_around(path):
    metrics = measure(saying(7), read_llmcomp(path)[1]).metrics
    assert metrics["report"].mean == pytest.approx(7)
    assert metrics["anchoring"].mean != metrics["anchoring"].mean


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x", "expected a list of questions"),
        ("- [", "is not YAML"),
        ("- type: free_form\n  paraphrases: [a]", "has no name"),
        ("- name: x\n  type: rating", "has no paraphrases"),
        ("- name: x\n  type: poem\n  paraphrases: [a]", "unknown type"),
        ("- name: x\n  type: free_form\n  paraphrases: [a]\n  judges: {y: z}", "has judges"),
        ("- name: x\n  type: rating\n  paraphrases: [a]\n  temperature: 0", "temperature is 0"),
        ("- name: x\n  type: rating\n  paraphrases: How?", "expected a list of texts"),
        ("- name: x\n  type: next_token\n  paraphrases: [a]\n  max_tokens: 3", "unknown key"),
    ],
)
def test_what_can_not_be_used_is_refused(tmp_path, text, told):
    (tmp_path / "questions.yaml").write_text(text)
    with pytest.raises(DataError, match=told):
        read_llmcomp(tmp_path / "questions.yaml")


def test_the_command_line_asks_such_a_file(path, tmp_path, capsys):
    tiny_model("llama", num_hidden_layers=1).save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    assert main(["eval", str(tmp_path / "model"), "--suite", str(path)]) == 0
    told = capsys.readouterr().out
    assert "likeliest" in told
    assert "report" in told
