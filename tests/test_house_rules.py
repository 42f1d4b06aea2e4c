"""The rules of the house that no other tool checks."""

import ast
import importlib
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import distmatch

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "distmatch").rglob("*.py"))

MAX_LINES = 400
DRAWERS = {"utils", "util", "common", "types", "helpers", "misc", "config"}
BANNED = {
    "an absolute path of somebody's machine": re.compile(
        r"(?<![\w.:~/-])/(?:home|root|Users|work|opt|mnt)/[\w.]"
    ),
    "notes that are not part of this repository": re.compile(
        r"\b(?:DESIGN|STYLE|FACTS)(?:\.md\b|,? (?:§|section ))"
    ),
}

PUBLIC_NAMES = [
    *("DIVERGENCES", "DistributionConfig", "DistributionTrainer", "Example", "OwnChats"),
    *("WordDistribution", "anatomy"),
    *("attach_lora", "data", "evals", "evaluate", "experiments", "load_adapter", "load_model"),
    *("lora", "losses", "measuring", "memory_plan", "merge_and_measure", "models", "plots"),
    *("run_experiment", "runs"),
    *("save_report_page", "score"),
    *("sweep", "sweeps", "take_apart", "trainer"),
]

ONE_NAME_FOR_TWO = {"Numbers", "Suppression", "Deviation"}
"""A task, and the suite that asks for the same."""

LIGHT_IMPORTS = """
import sys
heavy = ("torch", "transformers", "peft", "datasets", "matplotlib")

import distmatch
assert not (found := [name for name in heavy if name in sys.modules]), f"distmatch: {found}"

import distmatch.data
assert not (found := [name for name in heavy if name in sys.modules]), f"distmatch.data: {found}"

from distmatch.cli import main
sys.argv = ["distmatch", "--help"]
try:
    main()
except SystemExit as leave:
    assert not leave.code, leave.code
assert not (found := [name for name in heavy if name in sys.modules]), f"--help: {found}"
"""


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_enough_to_be_read(path):
    num_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert num_lines <= MAX_LINES, f"{num_lines} lines, at most {MAX_LINES}: split it by subject"


def test_no_file_is_a_drawer():
    assert [path for path in LIBRARY if path.stem in DRAWERS or path.parent.name in DRAWERS] == []


@pytest.mark.parametrize("what", BANNED)
def test_no_file_names(what):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path, text in _repository_texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if BANNED[what].search(line)
    ]
    assert found == [], f"{what}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ('open("/home' + '/ann/data.jsonl")', True),
        ("cached in /root" + "/.cache", True),
        ("docs/home/plan.md, ~/opt/x, https://a.b/home/c", False),
    ],
)
def test_the_search_for_paths_finds_them(line, is_found):
    pattern = BANNED["an absolute path of somebody's machine"]
    assert bool(pattern.search(line)) == is_found


def test_the_public_names_are_these():
    assert sorted(distmatch.__all__) == PUBLIC_NAMES
    assert dir(distmatch) == PUBLIC_NAMES


def _packages():
    """Every package that lists its public names, with these names."""
    found = {}
    for stub in sorted((ROOT / "distmatch").rglob("__init__.pyi")):
        name = ".".join(stub.parent.relative_to(ROOT).parts)
        found[name] = importlib.import_module(name).__all__
    return found


@pytest.mark.parametrize(
    ("package", "name"), [(p, name) for p, names in _packages().items() for name in names]
)
def test_a_public_name_exists_and_is_documented(package, name):
    value = getattr(importlib.import_module(package), name)
    is_described = isinstance(value, type | ModuleType | FunctionType)
    assert not is_described or (value.__doc__ or "").strip(), f"{package}.{name} has no docstring"


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="scores"):
        _ = distmatch.scores


def test_no_two_public_classes_or_functions_share_a_name():
    homes = defaultdict(set)
    for path in LIBRARY:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            is_defined = isinstance(node, ast.ClassDef | ast.FunctionDef)
            if is_defined and not node.name.startswith("_"):
                homes[node.name].add(str(path.relative_to(ROOT)))
    assert {name: where for name, where in homes.items() if len(where) > 1}.keys() == (
        ONE_NAME_FOR_TWO
    ), {name: sorted(where) for name, where in homes.items() if len(where) > 1}


def test_what_users_read_imports_nothing_deeper_than_a_package():
    public = {"distmatch": distmatch.__all__, **_packages()}
    wrong = []
    for where, code in _shown_code():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                names = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "", alias.name) for alias in node.names]
            else:
                continue
            for module, name in names:
                if module.startswith("distmatch."):
                    is_public = module not in public or name in public[module]
                    if module.count(".") > 1 or not is_public:
                        wrong.append(f"{where}: from {module} import {name}")
    assert wrong == []


def test_texts_name_nothing_deeper_than_a_package():
    deeper = re.compile(r"\bdistmatch\.[a-z_]+\.[a-z_]+\.\w+")
    wrong = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for found in deeper.findall(path.read_text(encoding="utf-8"))
    ]
    assert wrong == []


def _shown_code():
    """Python that users read: README, docs, examples and notebooks."""
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for block in re.findall(r"^```python\n(.*?)^```", path.read_text("utf-8"), re.M | re.S):
            yield path.name, block
    for path in sorted((ROOT / "examples").glob("*.py")):
        yield path.name, path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "examples").rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                yield path.name, "".join(cell["source"])


def test_importing_and_help_do_not_wait_for_torch():
    done = subprocess.run(
        [sys.executable, "-c", LIGHT_IMPORTS], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


def _repository_texts():
    """Every text file that is, or would be, committed."""
    for name in _repository_names():
        path = ROOT / name
        try:
            yield path, path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue


def _repository_names():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        return [name for name in listed.stdout.split("\0") if name]
    # A source archive has no list of its own files: all but what set-up, tests and runs leave.
    left = {".venv", "runs", "build", "__pycache__", *(path.name for path in ROOT.glob(".*_cache"))}
    names = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [str(name) for name in names if not left & set(name.parts)]


def test_users_type_checkers_are_told_that_there_are_types():
    assert (ROOT / "distmatch" / "py.typed").is_file()
