"""The reference: a page a package, written from its public names for autodoc to fill."""

import dataclasses
import inspect
import sys
from enum import Enum
from pathlib import Path
from typing import Any

from docstrings import as_restructured
from met_types import met_types
from public_names import PublicName, constant, doc_of, is_described, public_names
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.inspect import stringify_signature

_logger = logging.getLogger(__name__)

_FOLDER = "docs/reference"
_TYPES = "types"
_TYPES_TITLE = "Types without a public name"
_TYPES_SAY = """Classes that the other pages' names take, give or derive from. The library makes
them; no package declares them, so they can change without notice."""
_LONGEST_VALUE = 120


def _write_pages(app: Sphinx) -> None:
    """Those of packages, and one of the types met in them; what isn't asked for any more goes."""
    root = app.config.reference_root
    packages = public_names(root)
    names = [one for declared in packages.values() for one in declared]
    for one in names:
        if not one.doc:
            _logger.warning("%s.%s is public and has no docstring", one.package, one.name)
    pages = {package: _package_page(package, declared) for package, declared in packages.items()}
    if types := met_types([one.value for one in names], root):
        pages[_TYPES] = _types_page(types)
    folder = Path(app.srcdir) / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, lines in pages.items():
        (folder / f"{name}.rst").write_text("\n".join(lines), encoding="utf-8")


def _package_page(package: str, names: list[PublicName]) -> list[str]:
    return [
        *(package, "=" * len(package), ""),
        *(f".. automodule:: {package}", ""),
        *_table([(one.path, one.doc) for one in names]),
        *(line for one in names if one.home == package for line in _description(one)),
    ]


def _types_page(types: list[type]) -> list[str]:
    paths = {f"{one.__module__}.{one.__name__}": one for one in types}
    return [
        *(_TYPES_TITLE, "=" * len(_TYPES_TITLE), "", _TYPES_SAY, ""),
        *_table([(path, doc_of(one)) for path, one in paths.items()]),
        *(line for path, one in paths.items() for line in _autodoc(path, one)),
    ]


def _table(rows: list[tuple[str, str]]) -> list[str]:
    """Names, and the first paragraph that each says of itself."""
    lines = [".. list-table::", ""]
    for path, doc in rows:
        first = " ".join(doc.split("\n\n")[0].split())
        lines += [f"   * - :py:obj:`~{path}`", f"     - {as_restructured(first)}"]
    return [*lines, ""]


def _description(one: PublicName) -> list[str]:
    if is_described(one.value):
        return _autodoc(one.path, one.value)
    # Autodoc would look for a constant's docstring in the package, which only imports it
    found = constant(one.home, one.name)
    lines = [f".. py:data:: {one.name}"]
    if found.annotation:
        lines.append(f"   :type: {found.annotation}")
    if "\n" not in found.value and len(found.value) <= _LONGEST_VALUE:
        lines.append(f"   :value: {found.value}")
    text = as_restructured(found.doc)
    if isinstance(one.value, dict):
        text += "\n\nHas " + ", ".join(f"``{key}``" for key in one.value) + "."
    return [*lines, "", *(f"   {line}".rstrip() for line in text.split("\n")), ""]


def _autodoc(path: str, value: Any) -> list[str]:
    if not isinstance(value, type):
        return [f".. autofunction:: {path}", ""]
    bases = [base.__module__.split(".")[0] for base in value.__bases__]
    shows_bases = any(base not in sys.stdlib_module_names for base in bases)
    options = ["   :members:", *(["   :show-inheritance:"] if shows_bases else [])]
    if issubclass(value, Enum):  # whose members are all there is
        options.append("   :undoc-members:")
    return [f".. autoclass:: {path}", *options, ""]


def _legible(
    app: Sphinx, what: str, name: str, value: Any, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """A signature that Sphinx can parse, and without the hundred fields that transformers adds."""
    if not signature:
        return None
    base = _foreign_dataclass(value, app.config.reference_root)
    if base is not None:
        theirs = {field.name for field in dataclasses.fields(base)} - set(value.__annotations__)
        whole = inspect.signature(value)
        own = [one for one in whole.parameters.values() if one.name not in theirs]
        rest = inspect.Parameter(base.__name__, inspect.Parameter.VAR_KEYWORD)
        whole = whole.replace(parameters=[*own, rest], return_annotation=inspect.Signature.empty)
        signature = stringify_signature(whole, unqualified_typehints=True)
    # What a dataclass shows of a default that a factory makes is no Python
    return signature.replace("<factory>", "..."), returns


def _foreign_dataclass(value: Any, root: str) -> type | None:
    """The first dataclass of another package from which a class derives."""
    for base in value.__mro__ if isinstance(value, type) else ():
        if dataclasses.is_dataclass(base) and base.__module__.split(".")[0] != root:
            return base
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Known to Sphinx as `reference`."""
    app.add_config_value("reference_root", "distmatch", "env")
    app.connect("builder-inited", _write_pages)
    app.connect("autodoc-process-signature", _legible)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
