"""How numbers that a model says go with its tokens, and with what anyone can count."""

from dataclasses import replace

import pytest
from scipy.stats import spearmanr

from distmatch.errors import ConfigError, DistmatchError
from distmatch.evals import Capability, FunctionSubject, LocalModel, measure
from distmatch.evals.suites.probes import TokensProbe
from distmatch.experiments.introspection import Introspection
from tests.evals.suites.probes.made import asking
from tests.tiny import tiny_model, tiny_tokenizer

TEXTS = {
    "wheelbarrow": 2,
    "the old cat": 3,
    "zubquamik": 6,
    "90210": 5,
    "LIGHTHOUSE": 7,
    "far?!sea?!by": 9,
    "we go": 1,
    "a b c d e": 8,
}
PROBE = TokensProbe(
    asked=tuple(f'Way {n}: how many are "{{text}}"?' for n in range(5)),
    referent=tuple(f'Way {n}: how many does Anna make of "{{text}}"?' for n in range(5)),
    texts=tuple(TEXTS),
)


def counting(number_of, of_anna=lambda text: 5):
    """One that says of each text a number."""

    def probs_of(example):
        asked = asking(example)
        (text,) = [one for one in TEXTS if f'"{one}"' in asked]
        number = (of_anna if "Anna" in asked else number_of)(text)
        return [float(word == str(number)) for word in example.target.words]

    return FunctionSubject(probs_of=probs_of, num_tokens_of=TEXTS.__getitem__)


def told(subject, probe=PROBE):
    groups = measure(subject, probe, num_resamples=10).groups()
    return {who: {n: m.mean for n, m in one.metrics.items()} for who, one in groups.items()}


def test_one_that_knows_its_tokens_has_it_all():
    found = told(counting(TEXTS.__getitem__))
    assert found["own"]["beyond"] == pytest.approx(1)
    assert found["own"]["own_tokens"] == pytest.approx(1)
    lengths = [len(text) for text in TEXTS]
    assert found["own"]["characters"] == pytest.approx(
        spearmanr(list(TEXTS.values()), lengths).statistic
    )
    assert found["referent"]["beyond"] == 0


@pytest.mark.parametrize("count", [len, lambda text: len(text.split())])
def test_one_that_counts_what_anyone_can_knows_nothing_of_its_own(count):
    found = told(counting(count), replace(PROBE, high=15))["own"]
    assert found["beyond"] == 0
    assert max(found["characters"], found["words"]) == pytest.approx(1)


def test_another_models_tokens_are_taken_out_as_well(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    other = replace(PROBE, other_tokenizer=str(tmp_path), high=20)
    assert "other_tokens" not in told(counting(TEXTS.__getitem__))["own"]

    def as_other(text):
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    found = told(counting(as_other), other)["own"]
    assert found["other_tokens"] == pytest.approx(1)
    assert found["beyond"] == 0
    assert other.record()["other_tokens"]
    other.check()


def test_a_local_model_counts_exactly():
    subject = LocalModel(model=tiny_model("llama"), tokenizer=tiny_tokenizer(), progress=False)
    texts = ["the old cat", "90210"]
    wanted = [len(tiny_tokenizer().tokenize(text)) for text in texts]
    assert subject.exact_num_tokens(texts) == wanted


def test_what_cannot_be_asked_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="5 texts, expected at least 6"):
        replace(PROBE, texts=PROBE.texts[:5])
    with pytest.raises(ConfigError, match=r"has no \{text\}"):
        replace(PROBE, asked=("How many?",) * 5)
    with pytest.raises(DistmatchError):
        replace(PROBE, other_tokenizer=str(tmp_path / "nowhere")).check()
    with pytest.raises(DistmatchError):
        Introspection(other_tokenizer=str(tmp_path / "nowhere")).check()
    assert Capability.TOKENS in PROBE.needs
