"""Parts of an adapter against adapters whose other weights are zero."""

import pytest
import torch

from distmatch.anatomy import Part, Place
from distmatch.anatomy.parts import ALL, NONE, ONLY, TIMES, WITHOUT, LoraPlaces, parts_of
from distmatch.errors import ConfigError
from distmatch.models.attaching import attach_lora
from distmatch.models.blocks import adaptable_sites
from distmatch.models.lora import lora
from tests.tiny import randomise_adapter, tiny_model

IDS = torch.arange(12).reshape(2, 6)


@pytest.fixture(params=["llama", "gpt_oss"])
def taken(request):
    model = tiny_model(request.param, num_hidden_layers=2)
    sites = adaptable_sites(model)
    adapted = attach_lora(model, lora("block", rank=2), seed=0).eval()
    randomise_adapter(adapted, 0.3)
    return adapted, LoraPlaces(adapted, sites)


def with_zeros(adapted, keeps):
    """Logits with B of every layer zero whose path isn't kept, by a function of the path."""
    own = {name: weight.detach().clone() for name, weight in adapted.named_parameters()}
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.mul_(keeps(name))
        logits = adapted(IDS).logits
        for name, weight in adapted.named_parameters():
            weight.copy_(own[name])
    return logits


def in_attention_of_1(name):
    return ".1." in name and "attn" in name


@pytest.mark.parametrize(
    ("part", "keeps"),
    [
        (Part(ALL), lambda name: 1),
        (Part(NONE), lambda name: 0),
        (Part(ONLY, Place(1, "attention")), in_attention_of_1),
        (Part(WITHOUT, Place(1, "attention")), lambda name: not in_attention_of_1(name)),
        (Part(TIMES, times=1.75), lambda name: 1.75),
    ],
    ids=lambda given: given.name if isinstance(given, Part) else "",
)
@torch.no_grad()
def test_a_part_is_what_is_left_with_zeros_elsewhere(taken, part, keeps):
    adapted, places = taken
    wanted, whole = with_zeros(adapted, keeps), adapted(IDS).logits
    with places.scaled(part.factor):
        found = adapted(IDS).logits
    assert torch.allclose(found, wanted, atol=1e-5)
    assert (part.kind == ALL) == torch.equal(found, whole)
    assert torch.equal(adapted(IDS).logits, whole)  # as it was


def test_every_place_is_kept_alone_and_left_out_the_lowest_first():
    places = [Place(1, "mlp"), Place(0, "mlp"), Place(0, "attention")]
    assert [part.name for part in parts_of(places, (0.5,))] == [
        *("all", "none", "only attention@0", "only mlp@0", "only mlp@1"),
        *("without attention@0", "without mlp@0", "without mlp@1", "times 0.5"),
    ]


def test_what_is_in_no_block_can_not_be_taken_apart():
    model = tiny_model("llama", num_hidden_layers=2)
    adapted = attach_lora(model, lora("mlp", rank=2))
    with pytest.raises(ConfigError, match="which is in no block"):
        LoraPlaces(adapted, [])
