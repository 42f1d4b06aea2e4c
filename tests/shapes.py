"""Every call whose annotations have shapes is held against them."""

import functools
import inspect
from pathlib import Path
from typing import Any, get_args

import jaxtyping

_jaxtyped = jaxtyping.jaxtyped


def check_shapes(root: Path) -> None:
    """Check calls from now on, in what is imported from now on.

    mypy sees to what is annotated without shapes, which is left as it is: a check of all that a
    call is given costs more than most small functions. The floats tower lets an int pass for a
    float.

    Args:
        root: Where `distmatch/` is.
    """
    jaxtyping.jaxtyped = _jaxtyped_where_shaped  # the decorator that the hook writes everywhere
    jaxtyping.install_import_hook(
        [
            ".".join(path.relative_to(root).with_suffix("").parts)
            for path in root.glob("distmatch/**/*.py")
            if "from jaxtyping import" in path.read_text(encoding="utf-8")
        ],
        "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
    )


def _jaxtyped_where_shaped(*, typechecker: Any) -> Any:
    def decorated(given: Any) -> Any:
        if _has_shapes(given):
            return _jaxtyped(given, typechecker=typechecker)
        return given

    return decorated


def _has_shapes(given: Any) -> bool:
    """Whether a function's annotations have shapes, or those of a class's fields."""
    if isinstance(given, property):
        return any(_has_shapes(part) for part in (given.fget, given.fset, given.fdel) if part)
    if isinstance(given, classmethod | staticmethod):
        given = given.__func__
    if isinstance(given, functools.cached_property):
        given = given.func
    if inspect.isclass(given):  # fields of its parents too
        return any(_has_shape(field) for part in given.__mro__ for field in _annotations(part))
    return any(_has_shape(part) for part in _annotations(given))


def _annotations(given: Any) -> list[Any]:
    return list(getattr(given, "__annotations__", {}).values())


def _has_shape(annotation: Any) -> bool:
    if isinstance(annotation, list):  # what a Callable takes
        return any(_has_shape(part) for part in annotation)
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(_has_shape(part) for part in get_args(annotation))
