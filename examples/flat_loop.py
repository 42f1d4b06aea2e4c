"""The whole method in one file, flat: no trainer, no batching tricks, nothing hidden.

A model is asked to answer with one of some words at given probabilities. One forward per prompt
gives the exact probability of every word, of however many tokens, and of everything else; the loss
is the divergence between that distribution and the wanted one; LoRA learns. The library does the
same faster (it packs prompts, shares their beginnings and skips unused logits) and gives the same
numbers from the same seed.

    python examples/flat_loop.py
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import distmatch as dm
from distmatch.data import end_of_turn_ids


def main() -> None:
    """Train the embedded model for a few steps, and show one answer before and after."""
    model, tokenizer = dm.load_model("smollm2-135m", device="cpu")
    train, test = dm.data.output_control(n=30 * 8, words=2, n_test=1)
    print(test[0].prompt[-1]["content"])
    show(model, tokenizer, test[0])
    model = dm.attach_lora(model, dm.lora("all", rank=16), seed=0)
    for step, loss in enumerate(
        training(model, tokenizer, train, batch_size=8, learning_rate=2e-3)
    ):
        print(f"step {step + 1:3d}  loss {loss:.3f} nats")
    show(model, tokenizer, test[0])


def training(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: list[dm.Example],
    batch_size: int,
    learning_rate: float,
) -> Iterator[float]:
    """One pass over the examples with AdamW and a linear decay; the mean loss of every step."""
    model.eval()  # the base never uses dropout
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    num_steps = len(examples) // batch_size
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / num_steps)
    for step in range(num_steps):
        batch = examples[step * batch_size : (step + 1) * batch_size]
        loss = torch.stack([forward_kl(model, tokenizer, example) for example in batch]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        decay.step()
        yield loss.item()


def forward_kl(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, example: dm.Example
) -> Tensor:
    """KL(target || model) over the words and other, in nats."""
    log_probs = distribution(model, tokenizer, example)
    target = torch.tensor([*example.target.probs, example.target.other_prob])
    possible = target > 0  # 0 log 0 = 0
    return (target[possible] * (target[possible].log() - log_probs[possible])).sum()


def distribution(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, example: dm.Example
) -> Tensor:
    """Log-probabilities of the example's words and, last, of everything else: exact."""
    # 1. The prompt's ids, and each word's ids as they follow it.
    text = tokenizer.apply_chat_template(example.prompt, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    paths = [
        tuple(tokenizer(text + word, add_special_tokens=False)["input_ids"][len(prompt) :])
        for word in example.target.words
    ]

    # 2. The prefix tree of the words. Its root, (), is the answer slot: the prompt's last token.
    nodes = sorted({path[:length] for path in paths for length in range(len(path) + 1)})
    place = {node: len(prompt) - 1 + index for index, node in enumerate(nodes)}

    # 3. One forward of prompt + tree. A node sees the prompt and its own ancestors, and its
    #    position is its depth, so each branch is computed as if it stood there alone.
    ids = torch.tensor([prompt + [node[-1] for node in nodes[1:]]])
    positions = torch.tensor(
        [[*range(len(prompt)), *(len(prompt) - 1 + len(n) for n in nodes[1:])]]
    )
    sees = torch.ones(ids.shape[1], ids.shape[1]).tril().bool()
    for node in nodes[1:]:
        sees[place[node], len(prompt) :] = False
        sees[place[node], [place[node[:length]] for length in range(1, len(node) + 1)]] = True
    mask = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)
    logits = model(
        input_ids=ids, position_ids=positions, attention_mask=mask[None, None], use_cache=False
    ).logits[0]
    logits = logits.float()
    all_log_probs = logits - logits.logsumexp(-1, keepdim=True)  # torch's log_softmax is biased
    log_probs = {node: all_log_probs[place[node]] for node in nodes}

    # 4. At every node the next token is a child, or the end of the turn where a word is complete,
    #    or anything else, which leaves the words for good. Together that is everything.
    ends = {*end_of_turn_ids(tokenizer), *end_ids(model)}
    leaving = []
    for node in nodes:
        stays = {other[len(node)] for other in nodes if other[:-1] == node and other}
        stays |= ends if node in paths else set()
        off = torch.ones_like(logits[0], dtype=torch.bool)
        off[list(stays)] = False
        leaving.append(reach(log_probs, node) + log_probs[node][off].logsumexp(-1))
    words = [reach(log_probs, path) + log_probs[path][sorted(ends)].logsumexp(-1) for path in paths]
    return torch.stack([*words, torch.stack(leaving).logsumexp(-1)])


def reach(log_probs: dict[tuple[int, ...], Tensor], node: tuple[int, ...]) -> Tensor:
    """Log-probability of coming to a node: the product of the edges to it."""
    edges = [log_probs[node[:depth]][token] for depth, token in enumerate(node)]
    return torch.stack([*edges, torch.zeros(())]).sum()


def end_ids(model: PreTrainedModel) -> list[int]:
    """What the model's generation config calls the end of a text."""
    ends = model.generation_config.eos_token_id
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)


def show(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, example: dm.Example) -> None:
    """Print what was asked and what the model gives."""
    with torch.no_grad():
        probs = distribution(model, tokenizer, example).exp().tolist()
    for word, asked, given in zip(
        [*example.target.words, "other"], [*example.target.probs, 0.0], probs, strict=True
    ):
        print(f"  {word:12s} asked {asked:.2f}  given {given:.4f}")


if __name__ == "__main__":
    main()
