"""What an adapter's folder says of it, against the model it was saved from."""

from peft import LoraConfig, get_peft_model

from distmatch.models.attaching import attach_lora
from distmatch.models.base_record import write_base_record
from distmatch.models.embedded import EMBEDDED_HUB_ID, embedded_directory
from distmatch.models.lora import lora
from distmatch.models.saved_adapter import SavedAdapter
from tests.tiny import tiny_model


def num_trainable(model) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def test_sites_have_the_blocks_and_parameters_of_the_model(tmp_path):
    model = attach_lora(tiny_model("llama"), lora("q@0,2-3 + down@1", rank=3))
    model.save_pretrained(tmp_path)
    found = SavedAdapter.read(tmp_path)
    assert found.sites == [
        ("mlp.down_proj", "1", 3 * (96 + 48)),
        ("self_attn.q_proj", "0, 2, 3", 3 * 3 * (48 + 64)),
    ]
    assert sum(found.sizes.values()) == num_trainable(model)
    assert not found.has_experts
    assert found.base == {}


def test_stacks_of_experts_are_one_site(tmp_path):
    model = attach_lora(tiny_model("gpt_oss"), lora("experts@1-2 + router@1", rank=2))
    model.save_pretrained(tmp_path)
    found = SavedAdapter.read(tmp_path)
    assert [(row.site, row.blocks) for row in found.sites] == [
        ("mlp.experts", "1, 2"),
        ("mlp.router", "1"),
    ]
    assert sum(row.parameters for row in found.sites) == num_trainable(model)
    assert found.has_experts


def test_what_stands_in_no_block_has_none(tmp_path):
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
    get_peft_model(tiny_model("llama"), config).save_pretrained(tmp_path)
    rows = SavedAdapter.read(tmp_path).sites
    assert [(row.site, row.blocks) for row in rows] == [
        ("lm_head", ""),
        ("self_attn.q_proj", "0-3"),
    ]
    assert rows[0].parameters == 320 * 48


def named(name: str) -> SavedAdapter:
    return SavedAdapter(config={}, base={"name": name}, sizes={})


def test_a_base_has_its_hub_id_or_the_last_part_of_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "tea").mkdir(parents=True)
    for name, base_id, base_name in [
        ("openai/gpt-oss-20b", "openai/gpt-oss-20b", "openai/gpt-oss-20b"),
        ("models/tea", None, "tea"),
        (f"{tmp_path}/gone/tea", None, "tea"),
        ("LlamaForCausalLM", None, "LlamaForCausalLM"),
    ]:
        assert (named(name).base_id, named(name).base_name) == (base_id, base_name), name


def test_the_embedded_model_is_known_by_where_it_is_kept():
    kept = named(str(embedded_directory()))
    assert (kept.base_id, kept.base_name) == (EMBEDDED_HUB_ID, "smollm2-135m")


def test_a_folder_without_a_whole_adapter_has_none(tmp_path):
    assert SavedAdapter.read(tmp_path) is None
    model = attach_lora(tiny_model("llama"), lora("q@0", rank=1))
    model.save_pretrained(tmp_path)
    write_base_record(model, tmp_path)
    assert SavedAdapter.read(tmp_path).base["quantization"] is None
    (tmp_path / "adapter_config.json").unlink()
    assert SavedAdapter.read(tmp_path) is None
