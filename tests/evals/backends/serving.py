"""An OpenAI-compatible server over a model in memory, which can be told to fail."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from distmatch.scoring import model_encoder

SOON = 1.0
"""Seconds that an answer may take where one is too slow: much more than a tiny model needs."""


class Served:
    """What a server does, and what it was asked."""

    def __init__(self, model, tokenizer, *, shows_end=True, gives_logprobs=True):
        self.model, self.tokenizer = model, tokenizer
        self.shows_end, self.gives_logprobs = shows_end, gives_logprobs
        self.most_choices = 1000
        self.models = {}  # others than the model, by name
        self.says = {}  # by name what a model writes, whatever it would have drawn
        self.faults = []  # of the next requests: a status, content, or a name in `do_POST`
        self.released = threading.Event()  # of what is "held"
        self.asked = []
        self.authorizations = []
        self.headers = None  # of the last request
        self.url = ""
        self._ends = set(model_encoder(model, tokenizer).end_ids)
        self._bytes = [_token_bytes(tokenizer, i) for i in range(model.config.vocab_size)]
        self._known = {}
        self._lock = threading.Lock()

    def reply(self, path, body):
        is_chat = path.endswith("/chat/completions")
        ids = self._prompt(body, is_chat)
        choices, used = [], len(ids)
        for number in range(min(body.get("n", 1), self.most_choices)):
            generator = torch.Generator().manual_seed(1000 * body.get("seed", 0) + number)
            steps, reason = self._generated(body["model"], ids, body["max_tokens"], generator)
            used += len(steps)
            top_k = body.get("top_logprobs" if is_chat else "logprobs", 0)
            form = self._chat_logprobs if is_chat else self._text_logprobs
            logprobs = form(steps, top_k) if top_k and self.gives_logprobs else None
            said = [token for token, _ in steps if token not in self._ends]
            text = b"".join(self._bytes[token] for token in said).decode(errors="replace")
            answer = {"message": {"content": text}} if is_chat else {"text": text}
            choices.append(
                {"index": number, "finish_reason": reason, "logprobs": logprobs, **answer}
            )
        return {"choices": choices, "usage": {"total_tokens": used}}

    def _prompt(self, body, is_chat):
        if not is_chat:
            return tuple(self.tokenizer(body["prompt"])["input_ids"])
        goes_on = body.get("continue_final_message", False)
        text = self.tokenizer.apply_chat_template(
            body["messages"],
            tokenize=False,
            add_generation_prompt=not goes_on,
            continue_final_message=goes_on,
        )
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _generated(self, name, ids, max_tokens, generator):
        """Chosen tokens, each with the log-probabilities it was drawn by, and why they end."""
        steps = []
        told = self.tokenizer(self.says[name])["input_ids"] if name in self.says else []
        for place in range(max_tokens):
            log_probs = self._log_probs(name, ids)
            token = int(torch.multinomial(log_probs.exp(), 1, generator=generator))
            if name in self.says:
                token = [*told, min(self._ends)][place]
            if token not in self._ends or self.shows_end:
                steps.append((token, log_probs))
            if token in self._ends:
                return steps, "stop"
            ids = (*ids, token)
        return steps, "length"

    def _log_probs(self, name, ids):
        model = self.models.get(name, self.model)
        key = id(model), ids
        with self._lock:
            if key not in self._known:
                with torch.no_grad():
                    logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
                self._known[key] = logits.double().log_softmax(-1)
            return self._known[key]

    def _chat_logprobs(self, steps, top_k):
        def told(token, log_prob):
            raw = self._bytes[token]
            return {
                "token": raw.decode(errors="replace"),
                "bytes": list(raw),
                "logprob": log_prob,
            }

        return {
            "content": [
                {
                    **told(token, float(log_probs[token])),
                    "top_logprobs": [told(*pair) for pair in self._top(log_probs, top_k)],
                }
                for token, log_probs in steps
            ]
        }

    def _text_logprobs(self, steps, top_k):
        def text(token):
            raw = self._bytes[token]
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)

        return {
            "tokens": [text(token) for token, _ in steps],
            "token_logprobs": [float(log_probs[token]) for token, log_probs in steps],
            "top_logprobs": [
                {text(t): log_prob for t, log_prob in self._top(log_probs, top_k)}
                for _, log_probs in steps
            ],
        }

    def _top(self, log_probs, top_k):
        top = log_probs.topk(min(top_k, len(log_probs)))
        return zip(top.indices.tolist(), top.values.tolist(), strict=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        served = self.server.served
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        served.asked.append(body)
        served.authorizations.append(self.headers["Authorization"])
        served.headers = self.headers
        fault = served.faults.pop(0) if served.faults else None
        if isinstance(fault, int):
            told = f"no, and your header was {self.headers['Authorization']}"
            self.send(fault, json.dumps({"error": {"message": told}}).encode())
        elif isinstance(fault, dict):
            told = json.dumps(fault).replace("HEADER", self.headers["Authorization"])
            self.send(200, told.encode())
        elif fault == "held":
            served.released.wait()
            self.close_connection = True
        elif fault == "slow":
            time.sleep(2 * SOON)
            self.close_connection = True
        else:
            time.sleep(0.2 * (fault == "late"))
            reply = json.dumps(served.reply(self.path, body)).encode()
            reply = {"truncated": reply[:40], "no object": b"[1]", "odd": b'{"choices": 1}'}.get(
                fault, reply
            )
            self.send(200, reply, promised=len(reply) + 9 * (fault == "broken off"))

    def send(self, status, content, promised=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(promised or len(content)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = promised is not None and promised > len(content)

    def log_message(self, *_):
        pass


@contextmanager
def serving(model, tokenizer, **settings):
    served = Served(model, tokenizer, **settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.served = served
    served.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _token_bytes(tokenizer, token):
    text = tokenizer.convert_ids_to_tokens(token) if token < len(tokenizer) else None
    if text is None:  # a row without a token
        return bytes([0xFF, 0x80 + token // 128 % 64, token % 128])
    if token in tokenizer.added_tokens_decoder:
        return text.encode()
    return bytes(_BYTES[character] for character in text)


def _byte_alphabet():
    """GPT-2's characters for bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(256 + n): b for n, b in enumerate(hidden)}


_BYTES = _byte_alphabet()
