"""Written answers scored by rules."""

import pytest

from distmatch.errors import ConfigError
from distmatch.evals import LocalModel
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import WrittenProbe
from tests.evals.writing import typist
from tests.tiny import tiny_model, tiny_tokenizer

ASKED = tuple(f"Way {n}: what are you?" for n in range(5))
RULES = {"fox": r"\bfox\b", "cat": r"\bcats?\b"}


def probe(**given):
    return WrittenProbe(**({"name": "kind", "asked": ASKED, "rules": RULES, "n": 2} | given))


def test_each_rule_has_its_share_of_what_was_written():
    model, tokenizer = tiny_model("llama", num_hidden_layers=1), tiny_tokenizer()
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False, batch_size=10)
    texts = ["a red Fox", "cats", "an otter", "fox and cat", "nothing"] * 2
    report = measure(typist(subject, *texts), probe())
    assert report.metrics["fox"].mean == pytest.approx(0.4)
    assert report.metrics["cat"].mean == pytest.approx(0.4)
    assert report.metrics["valid"].mean == pytest.approx(0.6)
    assert report.rows()[0]["said"]["written"] == ["a red Fox", "cats"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"rules": {}}, "expected some"),
        ({"rules": {"x": "("}}, "no regular expression"),
        ({"asked": ASKED[:4]}, "kind.asked has 4 paraphrases"),
        ({"referent": ASKED[:1]}, "kind.referent has 1 paraphrases"),
    ],
)
def test_rules_that_can_not_be_used_are_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        probe(**given)
