"""What the reference describes: public names, where each is at home, and what it says of itself."""

import ast
import importlib
import importlib.util
import inspect
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class PublicName:
    """A public name, as its package declares it."""

    name: str
    package: str
    home: str
    """The package that describes it: this one, or one in it that declares the same."""
    value: Any
    doc: str
    """Its docstring; empty where there is none."""

    @property
    def path(self) -> str:
        """Of its description."""
        return f"{self.home}.{self.name}"


@dataclass(frozen=True)
class Constant:
    """What the source says of a name that is neither class nor function."""

    annotation: str
    value: str
    doc: str
    """What stands below it."""


def public_names(root: str) -> dict[str, list[PublicName]]:
    """The public names by package: of every one with an `__init__.pyi`, and the errors.

    Args:
        root: The package that holds the others.
    """
    folder = Path(importlib.import_module(root).__file__ or "").parent
    declared: dict[str, list[str]] = {}
    for stub in sorted(folder.rglob("__init__.pyi")):
        package = ".".join([root, *stub.parent.relative_to(folder).parts])
        declared[package] = list(importlib.import_module(package).__all__)
    if importlib.util.find_spec(f"{root}.errors"):
        declared[f"{root}.errors"] = [
            name
            for name, value in vars(importlib.import_module(f"{root}.errors")).items()
            if isinstance(value, type) and issubclass(value, Exception)
        ]
    return {
        package: [
            _public_name(package, name, declared)
            for name in names
            if not isinstance(_value(package, name), ModuleType)
        ]
        for package, names in declared.items()
    }


def is_described(value: object) -> bool:
    """Whether it can have a docstring of its own: a class or a function."""
    return isinstance(value, type) or inspect.isroutine(inspect.unwrap(value))


def doc_of(value: Any) -> str:
    """The docstring that somebody wrote for a class or function, or none."""
    doc = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
    doc = inspect.cleandoc(doc or "")
    # A dataclass or named tuple without one is given its signature
    return "" if doc.startswith(f"{value.__name__}(") else doc


def constant(package: str, name: str) -> Constant:
    """What stands where a constant is assigned, through whichever modules it's imported."""
    module = importlib.import_module(package)
    while (origin := _origin(module, name)) is not None:
        module = origin
    body = _parsed(Path(module.__file__ or "")).body
    for node, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        match node:
            case ast.AnnAssign(target=ast.Name(id=found), annotation=kind, value=value):
                annotation = ast.unparse(kind)
            case ast.Assign(targets=[ast.Name(id=found)], value=value):
                annotation = ""
            case _:
                continue
        if found == name and value is not None:
            return Constant(annotation, ast.unparse(value), inspect.cleandoc(_text(below)))
    raise LookupError(f"{package}.{name} is neither imported nor assigned in {module.__name__}")


def _value(package: str, name: str) -> Any:
    return getattr(importlib.import_module(package), name)


def _public_name(package: str, name: str, declared: dict[str, list[str]]) -> PublicName:
    value = _value(package, name)
    inside = (p for p, names in declared.items() if p.startswith(f"{package}.") and name in names)
    home = next((p for p in inside if _value(p, name) is value), package)
    doc = doc_of(value) if is_described(value) else constant(home, name).doc
    return PublicName(name, package, home, value, doc)


def _origin(module: ModuleType, name: str) -> ModuleType | None:
    """The module from which another has a name; None: it's its own."""
    path = Path(module.__file__ or "")
    stub = path.with_suffix(".pyi")
    for node in _parsed(stub if stub.exists() else path).body:
        is_import = isinstance(node, ast.ImportFrom)
        if is_import and name in [one.asname or one.name for one in node.names]:
            package = module.__spec__.parent if module.__spec__ else None
            return importlib.import_module("." * node.level + (node.module or ""), package)
    return None


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _text(node: ast.stmt) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return ""
