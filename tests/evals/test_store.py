"""Reports in a folder: found again where nothing that they depend on has changed."""

import json
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest
import torch

from distmatch.errors import ConfigError, DataError
from distmatch.evals import LocalModel, Suite
from distmatch.evals.local_source import LocalSource
from distmatch.evals.store import Source, Store, measure_all, settings_of
from distmatch.evals.suites import Given, OwnExamples, Sad, Thinking
from distmatch.models.attaching import attach_lora
from distmatch.models.choice import ModelChoice
from distmatch.models.lora import lora
from tests.tiny import tiny_model, tiny_tokenizer

ROW = {"prompt": "red or blue:", "words": ["red", "blue"], "probs": [0.3, 0.7]}
OWN = OwnExamples(rows=[ROW])
SAMPLE = {
    "messages": [
        {"role": "user", "content": "red or blue?"},
        {"role": "assistant", "content": "It is"},
    ],
    **{"p": 70, "q": 30, "r": 20, "ideal": ["red", "blue"]},
}


@dataclass
class Desk:
    """A source of a test's own: whom it asks, and how often that was looked for."""

    asked: LocalModel
    known: dict = field(default_factory=dict)
    batch_size: int | None = 32
    times: int = 0

    @property
    def capabilities(self):
        return self.asked.capabilities

    @property
    def seed(self):
        return self.asked.seed

    def subject(self):
        self.times += 1
        return self.asked

    def record(self):
        return self.known


class Failing(OwnExamples):
    """A suite that breaks off."""

    name: ClassVar[str] = "failing"

    def items(self, subject):
        raise DataError("broken off")


@pytest.fixture
def desk(subject):
    return Desk(subject)


@pytest.fixture
def model(tmp_path):
    """A model's folder, to be changed."""
    save(tmp_path / "model")
    return tmp_path / "model"


def save(folder, seed=0):
    tiny_model("llama", seed=seed).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


def source(folder, **changes):
    return LocalSource(choice=ModelChoice(name=str(folder)), progress=False, **changes)


def was_there(source, suite, out):
    (kept,) = measure_all(source, [suite], out)
    return kept.was_there


def test_a_report_is_found_again_and_nothing_is_asked(desk, tmp_path):
    assert isinstance(desk, Source) and not desk.times
    (first,) = measure_all(desk, [OWN], tmp_path)
    asked_then = desk.times
    (again,) = measure_all(desk, [OWN], tmp_path)
    assert (first.was_there, again.was_there, desk.times) == (False, True, asked_then)
    assert again.report.to_json() == first.report.to_json()
    names = [path.name for path in (tmp_path / "examples").iterdir()]
    assert sorted(names) == ["report.json", "settings.json"]


def test_without_a_folder_nothing_is_kept(desk):
    assert not was_there(desk, OWN, None) and not was_there(desk, OWN, None)


def test_a_model_overwritten_in_its_folder_is_refused(model, tmp_path):
    out = tmp_path / "out"
    assert not was_there(source(model), OWN, out) and was_there(source(model), OWN, out)
    save(tmp_path / "elsewhere")  # the same bytes
    assert was_there(source(tmp_path / "elsewhere"), OWN, out)
    save(model, seed=1)
    with pytest.raises(ConfigError, match=r"examples was measured with model '\w+', not '\w+': r"):
        was_there(source(model), OWN, out)


def test_an_adapter_overwritten_in_its_folder_is_refused(model, tmp_path):
    out, adapter = tmp_path / "out", tmp_path / "adapter"
    adapted = attach_lora(tiny_model("llama"), lora("all", rank=2))
    adapted.save_pretrained(adapter)
    assert not was_there(source(model, adapter=adapter), OWN, out)
    assert was_there(source(model, adapter=adapter), OWN, out)
    with pytest.raises(ConfigError, match=r"was measured with adapter '\w+', not None"):
        was_there(source(model), OWN, out)
    with torch.no_grad():
        next(w for n, w in adapted.named_parameters() if "lora_B" in n).fill_(1)
    adapted.save_pretrained(adapter)
    with pytest.raises(ConfigError, match=r"was measured with adapter '\w+', not '\w+'"):
        was_there(source(model, adapter=adapter), OWN, out)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"asked": {"seed": 1}}, "seed 0, not 1"),
        ({"known": {"dtype": "bfloat16"}}, "dtype None, not 'bfloat16'"),
        ({"suite": Given(per_group=2)}, "given.per_group 1, not 2"),
    ],
)
def test_what_depends_on_something_else_is_refused_by_name(desk, tmp_path, change, told):
    suite = Given(per_group=1)
    report = next(measure_all(desk, [OWN])).report
    Store(tmp_path).keep("given", report, settings_of(desk, suite, {"dtype": None}))
    other = replace(desk, asked=replace(desk.asked, **change.get("asked", {})))
    settings = settings_of(
        other, change.get("suite", suite), {"dtype": None} | change.get("known", {})
    )
    with pytest.raises(ConfigError, match=f"{told}: remove it, or choose another folder"):
        Store(tmp_path).find("given", settings)


def test_another_version_of_a_suite_is_refused(desk, tmp_path):
    class Newer(OwnExamples):
        version: ClassVar[int] = 2

    assert not was_there(desk, OWN, tmp_path)
    with pytest.raises(ConfigError, match=r"examples\.version 1, not 2"):
        was_there(desk, Newer(rows=[ROW]), tmp_path)


def test_other_examples_are_refused(desk, tmp_path):
    assert not was_there(desk, OWN, tmp_path)
    with pytest.raises(ConfigError, match=r"was measured with examples\.rows '\w+', not"):
        was_there(desk, OwnExamples(rows=[ROW | {"probs": [0.4, 0.6]}]), tmp_path)


def test_a_file_is_known_by_what_was_read_not_by_its_place(desk, tmp_path):
    first, moved, out = tmp_path / "first", tmp_path / "moved", tmp_path / "out"
    for path in (first, moved):
        path.write_text(json.dumps(SAMPLE))
    assert not was_there(desk, Sad(path=first), out)
    assert was_there(desk, Sad(path=moved), out)
    moved.write_text(json.dumps(SAMPLE | {"p": 60, "q": 40}))
    with pytest.raises(ConfigError, match=r"was measured with sad\.samples '\w+', not"):
        was_there(desk, Sad(path=moved), out)


def test_a_file_that_changes_meanwhile_is_known_by_what_was_scored(desk, tmp_path):
    path, out = tmp_path / "samples", tmp_path / "out"
    path.write_text(json.dumps(SAMPLE))

    @dataclass(frozen=True, kw_only=True)
    class Meddling(Sad):
        """Its file is another by the time it asks."""

        def items(self, subject):
            path.write_text("gone")
            return super().items(subject)

    assert not was_there(desk, Meddling(path=path), out)
    path.write_text(json.dumps(SAMPLE))
    assert was_there(desk, Sad(path=path), out)


def test_settings_of_a_suite_hide_none_of_the_source(desk):
    @dataclass(frozen=True, kw_only=True)
    class Sampling(OwnExamples):
        """Calls a setting as an endpoint does."""

        samples: int = 1

        def record(self):
            return Suite.record(replace(self, rows=())) | {"samples": self.samples}

    settings = settings_of(desk, Sampling(rows=[ROW], samples=2), {"samples": 32})
    assert (settings["samples"], settings["examples.samples"]) == (32, 2)


def test_what_a_model_writes_depends_on_how_many_prompts_are_answered_at_once(desk):
    other = replace(desk, batch_size=8)
    assert settings_of(desk, Given(), {}) == settings_of(other, Given(), {})
    assert settings_of(desk, Thinking(), {}) != settings_of(other, Thinking(), {})
    unasked = replace(desk, batch_size=None)
    assert settings_of(unasked, Thinking(), {})["batch_size"] is None


def test_what_was_broken_off_goes_on_with_what_is_not_done(desk, tmp_path):
    done = measure_all(desk, [OWN, Failing(rows=[ROW])], tmp_path)
    assert not next(done).was_there
    with pytest.raises(DataError, match="broken off"):
        next(done)
    assert [path.name for path in tmp_path.iterdir()] == ["examples"]

    class Mended(OwnExamples):
        name: ClassVar[str] = "failing"

    kept = measure_all(desk, [OWN, Mended(rows=[ROW])], tmp_path)
    assert [one.was_there for one in kept] == [True, False]


def test_a_report_that_was_never_whole_is_measured_again(desk, tmp_path):
    assert not was_there(desk, OWN, tmp_path)
    (tmp_path / "examples" / "report.json").rename(tmp_path / "examples" / "report.json.part")
    assert not was_there(desk, OWN, tmp_path) and was_there(desk, OWN, tmp_path)


@pytest.mark.parametrize("settings", [None, "{", "[1]"])
def test_a_report_of_other_making_is_refused(desk, tmp_path, settings):
    assert not was_there(desk, OWN, tmp_path)
    (tmp_path / "examples" / "settings.json").unlink()
    if settings is not None:
        (tmp_path / "examples" / "settings.json").write_text(settings)
    with pytest.raises(ConfigError, match="examples holds a report of other making"):
        was_there(desk, OWN, tmp_path)


def test_everything_is_refused_before_anybody_is_asked(desk, tmp_path):
    for suites, told in [
        ([OWN, Sad()], r"sad\.path=FILE"),
        ([OWN, Sad(path=tmp_path / "none")], "none is not a file"),
        ([OWN, OWN], "two suites are called examples"),
    ]:
        with pytest.raises((ConfigError, DataError), match=told):
            list(measure_all(desk, suites, tmp_path / "out"))
    assert not (tmp_path / "out").exists() and not desk.times
