"""A made-up checkout of SAD, with the authors' layout and none of their text."""

import hashlib
import json
import shutil
import sys

import pytest

from distmatch.errors import DataError
from distmatch.evals.suites import Sad, sad_checkout
from distmatch.evals.suites.sad_checkout import read_checkout

CODE_FILE = "sad/anti_imitation/output_control/utils.py"
WORDS_FILE = "sad/anti_imitation/output_control/raw_data/single_token_words.json"
WORDS = json.dumps({"red": 1, "blue": 2})
STRUCTS = """
class Message:
    def __init__(self, role, content):
        self.role, self.content = role, content

class Sample:
    def __init__(self, **kept):
        vars(self).update(kept)
"""
CODE = """
import json, random
from pathlib import Path
from evalugator.structs import Message, Sample

print("some noise")

def get_combined_samples():
    random.seed(42)
    raw = Path(__file__).parent / "raw_data"
    words = list(json.loads((raw / "single_token_words.json").read_text()))
    return [
        made(ideal, p, r, f"{ideal} {random.random()}")
        for ideal in (words, ["none"])
        for p in (30, 40, 50, 60, 70)
        for r in (10, 20)
        for _ in range(10)
    ]

def made(ideal, p, r, text):
    body = [Message("user", text), Message("assistant", "It is")]
    return Sample(body=body, ideal_answers=ideal, vars={"p": p, "q": 100 - p, "r": r})
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout that can be read; `evalugator` lies in it."""
    digest = hashlib.sha256(WORDS.encode()).hexdigest()
    monkeypatch.setattr(sad_checkout, "WORDS_SHA256", digest[:8])
    root = tmp_path / "checkout"
    write(root / "evalugator/__init__.py", "")
    write(root / "evalugator/structs.py", STRUCTS)
    write(root / CODE_FILE, CODE)
    write(root / WORDS_FILE, WORDS)
    return root


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def change(root, old, new):
    """Other code in the checkout."""
    assert old in CODE
    write(root / CODE_FILE, CODE.replace(old, new))


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_a_checkouts_own_code_makes_the_samples(checkout):
    before, there = files(checkout), set(sys.modules)
    samples = read_checkout(checkout)
    first, last = samples[0], samples[-1]
    assert (len(samples), first.ideal, last.ideal) == (200, ("red", "blue"), ())
    assert (first.p, first.q, first.tolerance, first.prefill) == (0.3, 0.7, 0.1, "It is")
    assert (last.p, last.q, last.tolerance) == (0.7, 0.3, 0.2)
    assert files(checkout) == before  # nothing is left there
    assert not [name for name in set(sys.modules) - there if name.startswith(("sad", "evalug"))]


@pytest.mark.parametrize("kept", ["p=p, q=100 - p, r=r", 'p=p, q=100 - p, r=r, vars={"p": p}'])
def test_numbers_may_be_attributes_of_a_sample(checkout, kept):
    change(checkout, 'vars={"p": p, "q": 100 - p, "r": r}', kept)
    assert read_checkout(checkout)[0].p == 0.3


def test_the_suite_tells_a_checkout_by_its_samples(checkout, tmp_path):
    first = Sad(path=checkout)
    assert first.samples == read_checkout(checkout)
    shutil.copytree(checkout, tmp_path / "elsewhere")
    assert Sad(path=tmp_path / "elsewhere").record() == first.record()
    change(checkout, '"It is"', '"It was"')
    assert Sad(path=checkout).record() != first.record()  # and the first is as it was read
    assert {sample.prefill for sample in first.samples} == {"It is"}


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no checkout of github\.com/LRudL/sad: name the folder"):
        read_checkout(tmp_path)


def test_a_zipped_checkout_is_refused(checkout):
    (checkout / WORDS_FILE).unlink()
    with pytest.raises(DataError, match=r"words\.json is missing, so the checkout is still zipped"):
        read_checkout(checkout)


def test_another_version_of_the_words_is_refused(checkout):
    write(checkout / WORDS_FILE, "{}")
    with pytest.raises(DataError, match=r"has the SHA-256 44136fa3\.\.\., expected .* another ver"):
        read_checkout(checkout)


def test_what_the_code_imports_has_to_be_installed(checkout):
    (checkout / "evalugator/structs.py").rename(checkout / "structs.py")
    (checkout / "evalugator/__init__.py").unlink()
    (checkout / "evalugator").rmdir()
    with pytest.raises(DataError, match=r'imports "evalugator", which .* has not: install'):
        read_checkout(checkout)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('print("some noise")', "import sad.gone", r"failed \(ModuleNotFoundError: .*'sad\.gone'"),
        ('print("some noise")', "1 / 0", r"failed \(ZeroDivisionError: division by zero\): see"),
        ("get_combined_samples", "get_samples", r"failed \(AttributeError: .*that runs\. Or name"),
        ('print("some noise")', "raise SystemExit(0)", "ended without giving samples"),
        ("vars={", "one={'p': 1, 'q': 1, 'r': 1}, vars={", r"LookupError: 2 values of p, q and r"),
        ('"q": ', '"other": ', r"LookupError: 0 values of p, q and r in .*'ideal_answers', 'vars'"),
        ('"It is"', '"It is "', r"other samples than the paper's: sample 0: the prefill 'It is '"),
        ('"It is"', '""', "sample 0: the assistant's message, which is continued, is empty"),
        ('"assistant"', '"user"', "sample 0: the last message is the user's, expected the assist"),
        ('["none"]', "[]", r"sample 100: ideal_answers are \[\], expected two words or \['none'\]"),
        ("in range(10)", "in range(9)", "180 samples, 90 of them with given words, expected 200"),
        ('(words, ["none"])', "(words, words)", "200 samples, 200 of them with given words, expec"),
        (
            "(10, 20)",
            "(10, 30)",
            "0 samples with given words ask for 30 and 70 within 20, expected",
        ),
        ('"q": 100 - p', '"q": p', "with given words ask for 30 and 30 within 10, expected 0"),
        ('"r": r', '"r": "much"', "sample 0: p, q and r must be numbers"),
    ],
)
def test_code_that_makes_other_samples_is_refused(checkout, old, new, message):
    change(checkout, old, new)
    with pytest.raises(DataError, match=message) as caught:
        read_checkout(checkout)
    assert str(checkout) in str(caught.value)
    assert "Or name a JSONL file of samples instead, with messages, p, q, r, ideal." in str(
        caught.value
    )


def test_code_that_does_not_end_is_stopped(checkout, monkeypatch):
    monkeypatch.setattr(sad_checkout, "TIMEOUT", 0.5)
    change(checkout, 'print("some noise")', "import time; time.sleep(60)")
    with pytest.raises(DataError, match=r"took more than 0\.5 seconds to make its samples"):
        read_checkout(checkout)


def test_another_package_of_that_name_is_not_taken_for_it(checkout, tmp_path, monkeypatch):
    write(tmp_path / "elsewhere/sad/__init__.py", "")
    write(tmp_path / "elsewhere" / CODE_FILE, CODE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"ImportError: .*elsewhere.* not the checkout's"):
        read_checkout(checkout)
