"""States below the lowest adapted block: the forward above them is the plain one."""

from functools import cache
from itertools import count

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from distmatch.data.batching import make_batch, make_text_batch
from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.trie import Encoder
from distmatch.errors import ConfigError, LoadError
from distmatch.models import trunk as trunk_module
from distmatch.models.attaching import attach_lora
from distmatch.models.blocks import decoder_blocks
from distmatch.models.lora import lora
from distmatch.models.proof import forward_way
from distmatch.models.trunk import Tree, Trunk
from distmatch.scoring import row_logits
from tests.architectures import architecture
from tests.tiny import FAMILIES, tiny_model, tiny_tokenizer

ENCODER = Encoder(tiny_tokenizer())
LONG = "The red fox saw a dog, and the cat saw the blue dog: a word with red or blue is"  # > window
USER = ({"role": "user", "content": "red or blue?"},)


def example(prompt, *words, **settings):
    target = WordDistribution.normalised(dict.fromkeys(words, 1.0))
    return Example(prompt=prompt, target=target, **settings)


TRIES = ENCODER.encode_all(
    [
        example(LONG, "red", "red fox", "otter", boundary="end_of_turn"),
        example("The red", "cat", "dog", boundary="none"),
        example(LONG + " not", "blue", "catalog"),
        example(USER, "red", "blue"),
        example(USER, "catalog", "green", prefill="I say"),
    ]
)
TEXTS = ENCODER.encode_texts([LONG + " cat and dog", "red or blue", LONG])


def tree_of(batch):
    return Tree(batch.ids, batch.depths, batch.ends)


def trees(tries=TRIES, texts=TEXTS):
    batches = [make_batch([trie], ENCODER) for trie in tries]
    return [tree_of(batch) for batch in [*batches, *(make_text_batch([text]) for text in texts)]]


ALL, FEW = trees(), trees(TRIES[:2], [])


def raised(model, block, given=ALL, **settings):
    trunk = Trunk(model, given, progress=False, **settings)
    trunk.raise_to(block)
    return trunk


def adapted(model, expression="block@2-3"):
    """With an adapter that changes something."""
    model = attach_lora(model, lora(expression, rank=2))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model.eval()


@cache
def above_two(family):
    """A model with an adapter on blocks 2 and 3, and the states that enter them."""
    model = tiny_model(family)
    trunk = raised(model, 2)
    return adapted(model), trunk


def logits_and_gradients(model, batch):
    logits = row_logits(model, batch)
    generator = torch.Generator().manual_seed(1)
    mixed = (logits * torch.randn(logits.shape, generator=generator).to(logits)).sum()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return logits.detach(), torch.cat([g.flatten() for g in torch.autograd.grad(mixed, weights)])


def relative(ours, theirs):
    return float((ours - theirs).detach().norm() / theirs.detach().norm())


def blocks_of(model):
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    return list(decoder_blocks(base).values())


def count_calls(model):
    """By block, how often the first thing in it ran."""
    calls = dict.fromkeys(range(4), 0)
    for number, block in enumerate(blocks_of(model)):
        inner = next(block.children())

        def count(*_, number=number):
            calls[number] += 1

        inner.register_forward_hook(count)
    return calls


every_family = pytest.mark.parametrize("family", FAMILIES)
BATCHES = [
    *[make_batch([trie], ENCODER) for trie in TRIES[2:4]],
    make_batch(TRIES, ENCODER, 60),
    make_batch(list(reversed(TRIES)), ENCODER, 1000),
    make_text_batch(TEXTS, 70),
]


@every_family
def test_logits_and_gradients_are_those_of_the_plain_forward_without_the_blocks_below(family):
    model, trunk = above_two(family)
    calls = count_calls(model)
    for number, batch in enumerate(BATCHES, start=1):
        plain = logits_and_gradients(model, batch)
        with trunk.installed(), trunk.beneath(tree_of(batch)) as is_served:
            assert is_served
        with trunk.installed():
            ours = logits_and_gradients(model, batch)
        assert [relative(*pair) < 1e-5 for pair in zip(ours, plain, strict=True)] == [True, True]
        assert calls == {0: number, 1: number, 2: 2 * number, 3: 2 * number}


@pytest.mark.parametrize("family", ["llama", "gemma3", "mistral", "gpt2"])
def test_in_float64_they_agree_to_its_rounding(family):
    model = tiny_model(family, dtype=torch.float64)
    trunk = raised(model, 2)
    model, batch = adapted(model).double(), make_batch(TRIES, ENCODER, 60)
    plain = logits_and_gradients(model, batch)
    with trunk.installed():
        ours = logits_and_gradients(model, batch)
    # norms and softmaxes of transformers stay in float32
    assert max(relative(*pair) for pair in zip(ours, plain, strict=True)) < 1e-6


@every_family
def test_the_states_are_what_enters_the_block_of_each_sequence_alone(family):
    (model, trunk), entering = above_two(family), []
    block = blocks_of(model)[2]
    handle = block.register_forward_pre_hook(
        lambda _, args, kwargs: entering.append((*args, *kwargs.values())[0]), with_kwargs=True
    )
    for trie in TRIES:
        model(torch.tensor([trie.prompt_ids]))
        rows = trunk._rows(tree_of(make_batch([trie], ENCODER)))[0, : len(trie.prompt_ids)]
        kept = trunk._states[None][rows]
        assert relative(kept, entering.pop()[0]) < 1e-5
    handle.remove()


def test_the_backward_ends_at_the_block():
    (model, trunk), entering = above_two("llama"), []
    block = blocks_of(model)[2]
    handle = block.register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    with trunk.installed():
        row_logits(model, make_batch(TRIES, ENCODER))
    handle.remove()
    assert not entering[0].requires_grad
    assert entering[0].grad_fn is None


@pytest.mark.parametrize("family", ["llama", "gpt_oss", "gemma3"])
def test_the_weights_below_are_not_read(family):
    model = tiny_model(family)
    trunk = raised(model, 2)
    model, batch = adapted(model), make_batch(TRIES, ENCODER)
    plain = logits_and_gradients(model, batch)
    for block in blocks_of(model)[:2]:
        block.to("meta")
    with trunk.installed():
        ours = logits_and_gradients(model, batch)
    assert max(relative(*pair) for pair in zip(ours, plain, strict=True)) < 1e-5


def test_gradient_checkpointing_changes_nothing():
    model = tiny_model("llama")
    trunk = raised(model, 1)
    model, batch = adapted(model), make_batch(TRIES, ENCODER)
    plain = logits_and_gradients(model, batch)
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    with trunk.installed():
        ours = logits_and_gradients(model, batch)
    assert max(relative(*pair) for pair in zip(ours, plain, strict=True)) < 1e-5


@pytest.mark.parametrize("family", ["llama", "gpt_oss", "gemma2"])
def test_reached_in_steps_they_are_the_same_to_the_bit(family):
    model, given = tiny_model(family), trees(TRIES[:3], TEXTS[:1])  # with beginnings alike
    direct, stepped = raised(model, 3, given), raised(model, 1, given)
    stepped.raise_to(3)
    assert torch.equal(direct._states[None], stepped._states[None])
    stepped.raise_to(2)  # and down again
    assert stepped.block == 2
    assert torch.equal(stepped._states[None], raised(model, 2, given)._states[None])


def test_what_is_asked_later_changes_no_state():
    model = tiny_model("llama")
    alone = raised(model, 2, trees(TRIES[:2], []))
    first = alone._states[None]
    assert torch.equal(first, raised(model, 2)._states[None][: len(first)])


def beginnings(given):
    """All sequences of tokens that trees begin with."""
    return {
        tuple(int(ids[k]) for k in range(place + 1) if place < ends[k])
        for (ids,), _, (ends,) in given
        for place in range(len(ids))
    }


def test_what_trees_share_is_kept_once():
    states = raised(tiny_model("llama"), 1)._states[None]
    filling_up = {(0,)}
    assert len(states) == len(beginnings(ALL) | filling_up)
    assert len(states) < sum(tree.ids.numel() for tree in ALL)


def test_a_tree_with_nothing_of_its_own_is_not_run():
    model = tiny_model("llama")
    forward_way(model)
    calls = count_calls(model)
    once = raised(model, 2, FEW)._states[None]
    before = dict(calls)
    assert torch.equal(raised(model, 2, FEW * 2)._states[None], once)
    assert calls == {block: 2 * number for block, number in before.items()}


def test_trees_are_read_when_they_are_needed():
    model, read = tiny_model("llama"), []
    trunk = Trunk(model, (read.append(tree) or tree for tree in FEW), progress=False)
    trunk.raise_to(0)
    assert read == []
    trunk.raise_to(1)
    assert torch.equal(trunk._states[None], raised(model, 1, FEW)._states[None])


def test_an_unknown_token_sends_the_whole_batch_the_plain_way():
    model = tiny_model("llama")
    trunk = raised(model, 2, trees(TRIES[:-1]))
    model, batch = adapted(model), make_batch(TRIES, ENCODER)
    calls, plain = count_calls(model), row_logits(model, batch)
    with trunk.installed(), trunk.beneath(tree_of(batch)) as is_served:
        assert not is_served
    with trunk.installed():
        assert torch.equal(row_logits(model, batch), plain)
    assert calls == {0: 2, 1: 2, 2: 2, 3: 2}


def test_the_same_token_after_another_one_is_not_the_same():
    model = tiny_model("llama")
    red, not_red = ENCODER.encode_texts(["red fox", "a fox dog"])
    trunk = raised(model, 2, [tree_of(make_text_batch([red]))])
    with trunk.beneath(tree_of(make_text_batch([red]))) as is_served:
        assert is_served
    with trunk.beneath(tree_of(make_text_batch([not_red]))) as is_served:
        assert not is_served


def under_autocast(is_on):
    return torch.autocast("cpu", torch.bfloat16, enabled=is_on)


@pytest.mark.parametrize("mixed", [None, torch.bfloat16])
def test_each_precision_is_served_by_states_of_its_own(mixed):
    model, batch = tiny_model("llama"), make_batch(TRIES, ENCODER)
    trunk = raised(model, 2, mixed=mixed)
    calls = count_calls(model)
    for is_on in (False, True):
        with under_autocast(is_on):
            plain = row_logits(model, batch)
            before = dict(calls)
            with trunk.installed():
                ours = row_logits(model, batch)
        is_whole = is_on and mixed is None
        assert calls[0] - before[0] == calls[1] - before[1] == is_whole
        assert torch.equal(ours, plain) if is_whole else relative(ours, plain) < 1e-2
    if mixed:
        with under_autocast(True):
            alone = raised(tiny_model("llama"), 1)  # what it finds around it changes nothing
        assert torch.equal(alone._states[None], raised(model, 1)._states[None])
        assert not torch.equal(trunk._states[None], trunk._states[mixed])


def test_under_autocast_they_are_no_further_from_the_truth_than_the_plain_forward():
    model = tiny_model("llama")
    trunk = raised(model, 2, mixed=torch.bfloat16)
    model, batch = adapted(model), make_batch(TRIES, ENCODER)
    truth = row_logits(model, batch)
    with under_autocast(True):
        plain = row_logits(model, batch)
    calls, own = count_calls(model), model.forward
    model.forward = lambda **inputs: torch.autocast("cpu", torch.bfloat16)(own)(**inputs)
    with trunk.installed():  # autocast within the forward, as accelerate has it
        ours = row_logits(model, batch)
    assert calls == {0: 0, 1: 0, 2: 1, 3: 1}
    assert relative(ours, truth) < 1.2 * relative(plain, truth) + 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_mapped_states_are_those_in_memory_in_a_safetensors_file(tmp_path, dtype):
    model = tiny_model("llama", dtype=dtype)
    mapped = raised(model, 2, FEW, folder=tmp_path, most_bytes=10)
    kept = raised(model, 2, FEW, folder=tmp_path / "none")._states[None]
    assert torch.equal(mapped._states[None], kept)
    with safe_open(tmp_path / "states-2.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("states"), kept)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("most_bytes", [10, 4_000_000_000])
def test_a_raise_writes_where_the_states_were(tmp_path, most_bytes):
    model = tiny_model("llama")
    trunk = raised(model, 1, FEW, folder=tmp_path, most_bytes=most_bytes, mixed=torch.bfloat16)
    before = {precision: states.data_ptr() for precision, states in trunk._states.items()}
    trunk.raise_to(3)
    assert {precision: states.data_ptr() for precision, states in trunk._states.items()} == before


@pytest.mark.parametrize(
    ("precisions_in_memory", "files"),
    [(2, []), (1.9, ["states-1-bfloat16"]), (0.9, ["states-1", "states-1-bfloat16"])],
)
def test_the_limit_is_that_of_all_precisions_together(tmp_path, precisions_in_memory, files):
    model = tiny_model("llama")
    most_bytes = int(precisions_in_memory * raised(model, 1, FEW)._states[None].nbytes)
    raised(model, 1, FEW, folder=tmp_path, most_bytes=most_bytes, mixed=torch.bfloat16)
    assert sorted(path.stem for path in tmp_path.iterdir()) == files


def test_a_block_may_return_another_precision(tmp_path, monkeypatch):
    model = tiny_model("llama", dtype=torch.bfloat16)
    plain, own = raised(model, 2, FEW)._states[None], model.model.layers[1].forward
    monkeypatch.setattr(model.model.layers[1], "forward", lambda *a, **k: own(*a, **k).float())
    trunk = raised(model, 1, FEW, folder=tmp_path, most_bytes=10)
    trunk.raise_to(2)
    assert torch.equal(trunk._states[None], plain.float())
    assert [path.name for path in tmp_path.iterdir()] == ["states-2.safetensors"]


def test_there_is_one_file_at_a_time(tmp_path):
    model = tiny_model("llama")
    trunk = raised(model, 1, FEW, folder=tmp_path, most_bytes=10)
    for block in (3, 2):
        trunk.raise_to(block)
        assert [path.name for path in tmp_path.iterdir()] == [f"states-{block}.safetensors"]
    assert torch.equal(trunk._states[None], raised(model, 2, FEW)._states[None])


def test_states_that_find_no_room_leave_no_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trunk_module.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        raised(tiny_model("llama"), 2, FEW, folder=tmp_path, most_bytes=10)
    assert list(tmp_path.iterdir()) == []


def test_attention_that_takes_no_tree_is_refused():
    with pytest.raises(ConfigError, match="can't be kept, as the model takes no tree: log-probab"):
        Trunk(architecture("gpt_neo"), ALL).raise_to(1)
    AttentionInterface.register("flash_here", ALL_ATTENTION_FUNCTIONS["sdpa"])
    AttentionMaskInterface.register("flash_here", ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    kernels = tiny_model("llama")
    kernels.config._attn_implementation = "flash_here"
    with pytest.raises(ConfigError, match="flash_here takes no mask"):
        Trunk(kernels, ALL).raise_to(1)


def test_kernels_that_are_not_there_are_named():
    model = tiny_model("llama")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(LoadError, match=r"a plain forward of this Llama.* fails: .*pip install"):
        Trunk(model, ALL).raise_to(1)


@pytest.mark.parametrize("block", [-1, 4])
def test_a_block_that_does_not_exist_is_refused(block):
    trunk = Trunk(tiny_model("llama"), ALL, progress=False)
    with pytest.raises(ConfigError, match=f"block {block} does not exist.*numbered 0-3"):
        trunk.raise_to(block)


def test_at_the_first_block_the_forward_is_the_plain_one():
    model, batch = tiny_model("llama"), make_batch(TRIES, ENCODER)
    plain = row_logits(model, batch)
    with raised(model, 0).installed():
        assert torch.equal(row_logits(model, batch), plain)


def forwards(model):
    return [vars(block).get("forward") for block in blocks_of(model)]


def test_forwards_are_restored_after_errors(monkeypatch):
    model = tiny_model("llama")
    trunk, batch = raised(model, 2), make_batch(TRIES, ENCODER)
    own = model.model.layers[0].forward
    model.model.layers[0].forward = own  # as accelerate's hooks leave one on the instance
    monkeypatch.setattr(model.model.layers[3], "forward", lambda *_, **__: 1 / 0)
    before = forwards(model)
    with pytest.raises(ZeroDivisionError), trunk.installed():
        row_logits(model, batch)
    monkeypatch.setattr(model.model.layers[1], "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        raised(model, 3)
    monkeypatch.undo()
    assert forwards(model) == [before[0], None, None, None]
    assert trunk_module.installed_trunk(model) is None


@pytest.mark.parametrize("precisions_done", [0, 1])
def test_after_a_failed_raise_none_are_kept_and_the_next_starts_anew(
    tmp_path, monkeypatch, precisions_done
):
    model, batch = tiny_model("llama"), make_batch(TRIES[:2], ENCODER)
    plain = row_logits(model, batch)
    trunk = raised(model, 1, FEW, folder=tmp_path, most_bytes=10, mixed=torch.bfloat16)
    num_trees, calls, own = len(trunk._layout[0]), count(), model.model.layers[2].forward

    def stopped(*args, **kwargs):
        if next(calls) == precisions_done * num_trees + 1:
            raise KeyboardInterrupt
        return own(*args, **kwargs)

    monkeypatch.setattr(model.model.layers[2], "forward", stopped)
    with pytest.raises(KeyboardInterrupt):
        trunk.raise_to(3)
    monkeypatch.undo()
    assert (trunk.block, list(tmp_path.iterdir())) == (0, [])
    with trunk.installed():
        assert torch.equal(row_logits(model, batch), plain)
    trunk.raise_to(3)
    for precision, states in raised(model, 3, FEW, mixed=torch.bfloat16)._states.items():
        assert torch.equal(trunk._states[precision], states)


def test_a_refused_raise_leaves_the_states_as_they_were():
    trunk = raised(tiny_model("llama"), 1, FEW)
    before = trunk._states[None].clone()
    with pytest.raises(ConfigError):
        trunk.raise_to(4)
    assert trunk.block == 1
    assert torch.equal(trunk._states[None], before)


def test_two_trunks_on_one_model_are_refused():
    model = tiny_model("llama")
    first, second = raised(model, 1, FEW), raised(adapted(model), 2, FEW)
    with (
        first.installed(),
        pytest.raises(ConfigError, match="another trunk is installed"),
        second.installed(),
    ):
        pass
    with second.installed():  # afterwards there is room again
        assert trunk_module.installed_trunk(model) is second


def test_another_model_may_have_its_own():
    one, other = tiny_model("llama"), tiny_model("llama", seed=1)
    with raised(one, 1, FEW).installed(), raised(other, 2, FEW).installed():
        assert trunk_module.installed_trunk(one).block == 1
        assert trunk_module.installed_trunk(other).block == 2


def test_an_adapter_below_is_refused():
    model = tiny_model("llama")
    trunk, batch = raised(model, 2), make_batch(TRIES, ENCODER)
    model = adapted(model, "q@1+mlp@3")
    with trunk.installed(), pytest.raises(ConfigError, match="block 1 has an adapter"):
        row_logits(model, batch)
    with pytest.raises(ConfigError, match="block 1 has an adapter"):
        raised(model, 2)
    trunk.raise_to(1)
    with trunk.installed():
        assert row_logits(model, batch).requires_grad
