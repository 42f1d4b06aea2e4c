"""The site is built strictly: a link to nothing or a public name without docstring fails it."""

import ast
import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("sphinx", reason="the extra `docs` isn't installed")

from sphinx.util.inventory import InventoryFile

ROOT = Path(__file__).parents[2]
SOURCES = ["docs", "examples", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]

INDEX = """# Made up

[A page](page.md#a-heading), [a file](../examples/run.py), [up](../README.md), $\\tfrac12^10$.

```{toctree}
page
reference
../README
```
"""
PAGE = "# Page\n\n## A heading\n\n[Here](#a-heading), [back](index.md), [up](../README.md).\n"
REFERENCE = "# Names\n\n```{toctree}\n:glob:\n\nreference/*\n```\n"
PACKAGE = (ROOT / "distmatch/losses/__init__.py").read_text(encoding="utf-8")
MODULE = '''
from dataclasses import dataclass, field

SIZES = (1, 2)
"""How large: `small_` or not."""


@dataclass
class Given:
    """What is given."""

    parts: list[str] = field(default_factory=list)
    """In order: the first first."""


def halved(values: list[float]) -> Given:
    """Half of each.

    Args:
        values: Those of `SIZES`.

    Returns:
        So much: half.

    Raises:
        ValueError: No values.
    """


BARE = 1


@dataclass
class Mute:
    values: int


def mute():
    pass
'''
DOCUMENTED = ["SIZES", "Given", "halved"]
UNDOCUMENTED = ["BARE", "Mute", "mute"]
LEADING_NOWHERE = ["gone.md", "page.md#gone", "#gone", "../examples/gone.py", "../GONE.md"]


def _built(source: Path, site: Path, *settings: str) -> SimpleNamespace:
    """What the command of `make docs` makes of sources elsewhere, and what it says."""
    command = [*(sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n")]
    done = subprocess.run(
        [*command, "-c", ROOT / "docs", *settings, source, site],
        env=os.environ | {"PYTHONPATH": str(source), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    warnings = [line for line in done.stderr.splitlines() if "WARNING: " in line]
    return SimpleNamespace(folder=site, code=done.returncode, said=done.stderr, warnings=warnings)


def _made_up(folder: Path, names: list[str], links: list[str]) -> SimpleNamespace:
    """A site of two pages and a package that declares these names, built by our settings."""
    texts = {
        "docs/index.md": INDEX,
        "docs/page.md": PAGE + "".join(f"\n[Link]({link})\n" for link in links),
        "docs/reference.md": REFERENCE,
        "README.md": "# Read me\n\n[A page](docs/page.md#a-heading)\n",
        "examples/run.py": "print()\n",
        "made_up/__init__.py": PACKAGE,
        "made_up/__init__.pyi": "".join(f"from .names import {n} as {n}\n" for n in names),
        "made_up/names.py": MODULE,
    }
    for name, text in texts.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return _built(folder / "source", folder / "site", "-D", "reference_root=made_up")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "source").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "source" / name)
    shutil.rmtree(folder / "source/docs/reference", ignore_errors=True)
    return _built(folder / "source", folder / "site")


def test_the_site_is_built_without_a_warning(site):
    assert (site.code, site.warnings) == (0, []), site.said


def test_every_page_and_notebook_is_on_the_site(site):
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.ipynb")]
    assert len(documents) > 15
    for path in documents:
        page = site.folder / path.relative_to(ROOT).with_suffix(".html")
        assert page.is_file(), f"{page.name} isn't on the site"


def test_every_public_name_is_on_the_site(site):
    inventory = InventoryFile.loads((site.folder / "objects.inv").read_bytes(), uri="").data
    described = {name for kind, names in inventory.items() if kind[:3] == "py:" for name in names}
    declared = list(_declared_names())
    assert len(declared) > 150
    missing = []
    for package, name in declared:
        page = (site.folder / f"docs/reference/{package}.html").read_text(encoding="utf-8")
        paths = [p for p in described if p.startswith(package) and p.rpartition(".")[2] == name]
        if not any(f'title="{path}"' in page for path in paths):
            missing.append(f"{package}.{name}")
    assert missing == []


def _declared_names():
    """Package and name of each in an `__init__.pyi`, without packages."""
    for stub in sorted((ROOT / "distmatch").rglob("__init__.pyi")):
        package = ".".join(stub.parent.relative_to(ROOT).parts)
        for node in ast.parse(stub.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                yield from ((package, alias.asname or alias.name) for alias in node.names)


def test_shapes_are_shown_as_they_are_written(site):
    page = (site.folder / "docs/reference/distmatch.losses.html").read_text(encoding="utf-8")
    assert "target: Float[Tensor, '*batch support']" in html.unescape(re.sub(r"<[^>]+>", "", page))


def test_the_front_page_leads_to_the_first_document(site):
    assert 'url=docs/index.html"' in (site.folder / "index.html").read_text(encoding="utf-8")


def test_search_knows_names_and_words(site):
    index = (site.folder / "searchindex.js").read_text(encoding="utf-8")
    assert "jensen_shannon" in index
    assert "calibr" in index  # stems


def test_nothing_is_asked_of_the_network(site):
    for path in ["docs/mathematics.html", "docs/index.html", "examples/notebooks/first_steps.html"]:
        page = (site.folder / path).read_text(encoding="utf-8")
        assert '<script src="http' not in page
        assert '<link rel="stylesheet" type="text/css" href="http' not in page
    assert "<math" in (site.folder / "docs/mathematics.html").read_text(encoding="utf-8")


def test_a_sound_site_is_built(tmp_path):
    built = _made_up(tmp_path, DOCUMENTED, [])
    assert (built.code, built.warnings) == (0, []), built.said
    page = (built.folder / "docs/index.html").read_text(encoding="utf-8")
    assert 'href="page.html#a-heading"' in page
    assert 'href="../README.html"' in page
    assert "_downloads/" in page
    formula = re.sub(r"\s", "", page.partition("<mfrac")[2].partition("</math>")[0])
    assert formula.endswith("><mn>1</mn><mn>2</mn></mfrac><mn>1</mn></msup><mn>0</mn>")


def test_what_leads_nowhere_or_says_nothing_fails_the_build(tmp_path):
    built = _made_up(tmp_path, [*DOCUMENTED, *UNDOCUMENTED], LEADING_NOWHERE)
    assert built.code != 0
    for link in LEADING_NOWHERE:
        named = link.partition("#")[2] or Path(link).name
        assert [line for line in built.warnings if "page.md" in line and named in line], link
    silent = [line.split("made_up.")[1].split()[0] for line in built.warnings if "public" in line]
    assert silent == UNDOCUMENTED
