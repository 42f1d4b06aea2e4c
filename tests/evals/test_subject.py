"""What can't be asked is refused by name."""

import pytest

from distmatch.data.examples import Example
from distmatch.errors import ConfigError, DataError
from distmatch.evals import Capability, Subject
from distmatch.evals.subject import checked_examples


class Mute(Subject):
    """A subject that can do nothing."""

    @property
    def capabilities(self):
        return frozenset()

    @property
    def ends_turns(self):
        return True


def test_what_a_subject_lacks_it_refuses_by_name():
    asked = {
        Capability.WORDS: [lambda s: s.answers([], "")],
        Capability.NEXT_TOKENS: [
            lambda s: s.first_tokens([], 1, ""),
            lambda s: s.ranks([], 1, ""),
        ],
        Capability.DISTRIBUTIONS: [
            lambda s: s.likely_answers([], 0.1, 1, ""),
            lambda s: s.drift([], [], ""),
        ],
        Capability.WRITING: [
            lambda s: s.write([], [], lambda *_: False, ""),
            lambda s: s.num_tokens([]),
        ],
        Capability.THOUGHTS: [
            lambda s: s.ways(),
            lambda s: s.think([], 1, lambda _: 1, ""),
        ],
        Capability.BASE: [lambda s: s.base()],
        Capability.TOKENS: [lambda s: s.exact_num_tokens([])],
    }
    assert set(asked) == set(Capability)
    for capability, asks in asked.items():
        for ask in asks:
            with pytest.raises(ConfigError, match=f"^Mute can't be asked for {capability.value}"):
                ask(Mute())


def test_upper_bounds_and_nothing_cannot_be_asked_of_what_has_no_base():
    record = {"prompt": "Say red", "words": ["red"], "probs": [0.1], "other": "at_most"}
    fine = Example.from_record(record | {"other": 0.9})
    with pytest.raises(DataError, match=r"rows \[1\].*resolve_at_most"):
        checked_examples([fine, Example.from_record(record)])
    with pytest.raises(DataError, match="no examples to evaluate"):
        checked_examples([])
    assert checked_examples(iter([fine])) == [fine]
