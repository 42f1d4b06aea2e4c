"""`distmatch eval --endpoint`: the options of a model without weights."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distmatch.errors import ConfigError

if TYPE_CHECKING:
    from distmatch.evals import Endpoint

CACHE_FILE = "replies.jsonl"

_OF_WEIGHTS = (
    *("adapter", "other_base", "quantization", "dtype", "no_template"),
    *("batch_size", "precision"),
)
_OF_ENDPOINTS = ("api", "top_k", "samples", "continues", "key_env", "extra")
_LIMITS = {
    **{"max_requests": "requests", "max_tokens": "tokens"},
    **{"parallel": "parallel", "timeout": "timeout"},
}


def add_endpoint_options(parser: Any) -> None:
    """Add a group of options to `distmatch eval`."""
    group = parser.add_argument_group(
        "models without weights",
        "With --endpoint, MODEL is a name at an OpenAI-compatible URL. Its replies are kept in "
        f"--out/{CACHE_FILE}, so that a command started again goes on. See docs/suites.md.",
    )
    group.add_argument("--endpoint", metavar="URL", help="such as http://localhost:8000/v1")
    group.add_argument("--api", choices=("chat", "completions"), help="how it is asked (chat)")
    group.add_argument(
        "--continues",
        action="store_true",
        help="the chat continues a last message of the assistant's (vLLM, llama.cpp)",
    )
    group.add_argument(
        "--top-k", type=int, help="next tokens it gives probabilities of; 0 for none (20)"
    )
    group.add_argument(
        "--samples", type=int, help="answers drawn where next tokens can't be asked for (32)"
    )
    group.add_argument(
        "--key-env",
        metavar="NAME",
        help="the environment variable that holds the key (OPENAI_API_KEY for OpenAI's own URL)",
    )
    group.add_argument(
        "--extra",
        metavar="JSON",
        help='what every request says besides, such as \'{"reasoning_effort": "none"}\'',
    )
    group.add_argument(
        "--beneath",
        metavar="NAME",
        help="the same model without its adapter, at the same URL, for suites that ask both",
    )
    group.add_argument("--max-requests", type=int, help="stop before more are sent")
    group.add_argument("--max-tokens", type=int, help="stop once so many are used")
    group.add_argument("--parallel", type=int, help="requests at once (8)")
    group.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="how long an answer may take (60)"
    )


def chosen_endpoint(args: argparse.Namespace) -> "Endpoint | None":
    """The endpoint that the command line names; None: it names a model with weights.

    Raises:
        ConfigError: Options of the one kind given with the other, or values that can't be used.
    """
    given = {n for n, value in vars(args).items() if value is not None and value is not False}
    if args.endpoint is None:
        if stray := [name for name in (*_OF_ENDPOINTS, "beneath", *_LIMITS) if name in given]:
            raise ConfigError(f"{_options(stray)} only with --endpoint: give its URL")
        return None
    if stray := [name for name in _OF_WEIGHTS if name in given]:
        raise ConfigError(f"{_options(stray)} only without --endpoint, which has no weights here")
    endpoint = _endpoint(args, given)
    if args.beneath is None:
        return endpoint
    return replace(endpoint, beneath=replace(endpoint, model=args.beneath))


def _endpoint(args: argparse.Namespace, given: set[str]) -> "Endpoint":
    from distmatch.evals import Endpoint, Limits

    chosen = {name: getattr(args, name) for name in _OF_ENDPOINTS if name in given}
    if args.extra is not None:
        chosen["extra"] = _object(args.extra)
    limits = {name: getattr(args, option) for option, name in _LIMITS.items() if option in given}
    return Endpoint(
        model=args.model,
        url=args.endpoint,
        **chosen,
        limits=Limits(**limits),
        cache=None if args.out is None else Path(args.out) / CACHE_FILE,
        seed=args.seed or 0,
    )


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(f"--extra is {text}, expected a JSON object such as '{{\"n\": 1}}'")
    return value


def _options(names: list[str]) -> str:
    verb = "makes" if len(names) == 1 else "make"
    return " and ".join(f"--{name.replace('_', '-')}" for name in names) + f" {verb} sense"
