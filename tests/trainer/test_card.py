"""The card beside an adapter: what it says, that the hub can read it, that PEFT's isn't left."""

from types import SimpleNamespace

import pytest
from huggingface_hub import EvalResult, ModelCard

from distmatch.models.saved_adapter import SavedAdapter
from distmatch.trainer import CardMeasures, data_told, markdown_table
from distmatch.trainer.card import NOT_MEASURED, AdapterCard
from tests.trainer.test_distribution_trainer import examples, trainer

KNOWN = CardMeasures(
    metrics="Slope 0.75.",
    results=(
        EvalResult(
            task_type="text-generation",
            dataset_type="examples",
            dataset_name="examples, 8 items",
            metric_type="slope",
            metric_value=0.75,
        ),
    ),
)


def test_an_unmeasured_adapter_s_card_says_so_and_is_no_blank_form(tmp_path):
    run = trainer(tmp_path / "tea", max_steps=1, retention_dataset=["green tea"])
    run.save_model()
    text = (tmp_path / "tea" / "README.md").read_text()
    assert text.count(NOT_MEASURED) == 3
    assert "More Information Needed" not in text
    assert "# tea\n" in text
    assert "8 rows of 2 words a prompt" in text
    assert "1 ordinary text" in text
    assert "| self_attn.q_proj | 0, 1 | 896 |" in text
    data = ModelCard.load(tmp_path / "tea" / "README.md").data
    assert (data.library_name, data.pipeline_tag) == ("peft", "text-generation")
    assert data.tags == ["distmatch", "lora"]
    assert data.eval_results is None


def test_what_is_known_stands_in_text_and_header_until_it_is_trained_again(tmp_path):
    run = trainer(tmp_path, max_steps=1, save_strategy="steps", save_steps=1)
    run.measures = KNOWN
    run.save_model(str(tmp_path / "known"))
    card = ModelCard.load(tmp_path / "known" / "README.md")
    assert "Slope 0.75." in card.text
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("slope", 0.75)
    assert card.data.model_name == tmp_path.name
    run.train()
    run.save_model(str(tmp_path / "known"))
    assert "Slope 0.75." not in (tmp_path / "known" / "README.md").read_text()
    assert "## Metrics\n\nNot measured." in (tmp_path / "checkpoint-1" / "README.md").read_text()


def test_what_peft_writes_over_it_keeps_its_text_and_saving_again_gives_the_same_bytes(tmp_path):
    run = trainer(tmp_path, max_steps=1)
    run.measures = KNOWN
    run.save_model()
    path = tmp_path / "README.md"
    ours = path.read_bytes()
    run.adapted.save_pretrained(tmp_path)
    theirs = ModelCard.load(path)
    assert path.read_bytes() != ours
    assert "Slope 0.75." in theirs.text
    assert theirs.data.eval_results == ModelCard(ours.decode()).data.eval_results
    run.save_model()
    assert path.read_bytes() == ours


def test_pushing_uploads_the_card_with_what_the_user_says_of_it(tmp_path, monkeypatch):
    uploaded = {}

    def upload_folder(folder_path, repo_id, **_):
        uploaded[repo_id] = ModelCard.load(f"{folder_path}/README.md")

    def create_repo(name, **_):
        return SimpleNamespace(repo_id=f"ann/{name}")

    hub = SimpleNamespace(create_repo=create_repo, upload_folder=upload_folder)
    monkeypatch.setattr("transformers.trainer.hf_api", lambda: hub)
    run = trainer(tmp_path / "tea", max_steps=1)
    run.measures = KNOWN
    run.push_to_hub(license="mit", tags="tea", finetuned_from="ann/base", model_name="Tea")
    card = uploaded["ann/tea"]
    assert (card.data.license, card.data.base_model) == ("mit", "ann/base")
    assert card.data.tags == ["distmatch", "lora", "tea"]
    assert "# Tea\n" in card.text
    assert "Slope 0.75." in card.text


def test_a_model_without_an_adapter_gets_none(tmp_path):
    run = trainer(tmp_path, max_steps=1, peft_config=None)
    run.save_model()
    assert not (tmp_path / "README.md").exists()
    run.create_model_card(model_name="whole")
    assert "distmatch" not in (tmp_path / "README.md").read_text()


def card(base: dict, sizes: dict | None = None, **config) -> str:
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4} | config
    adapter = SavedAdapter(config=config, base=base, sizes=sizes or {})
    return str(AdapterCard(name="x", adapter=adapter, data="None.", measures=CardMeasures()))


EXPERTS = {"base_model.model.model.layers.0.mlp.experts.lora_A.weight": 4}


def test_how_to_load_it_depends_on_base_and_sites():
    base = {"name": "openai/gpt-oss-20b", "quantization": "mxfp4", "weights": "00ff"}
    packed = card(base, EXPERTS)
    assert 'dm.load_model("openai/gpt-oss-20b", quantization="mxfp4")' in packed
    assert "leaves the experts as they are" in packed
    assert "adapters on expert layers" in packed
    assert "| digest | 00ff |" in packed
    assert ModelCard(packed).data.base_model == "openai/gpt-oss-20b"
    unpacked = card({**base, "quantization": None}, EXPERTS)
    assert 'dm.load_model("openai/gpt-oss-20b")' in unpacked
    assert "leaves the experts as they are" not in unpacked
    assert "adapters on expert layers" in unpacked
    dense = card({"name": "ann/deep", "config": {"model_type": "deepseek_v2"}})
    assert "adapters on expert layers" not in dense
    assert "shared experts and dense blocks of DeepSeek" in dense


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "None."),
        (examples(2), "2 rows of 2 words a prompt; where they are from is not recorded."),
    ],
)
def test_data_is_told_in_a_sentence(rows, told):
    assert data_told(rows) == told


def test_numbers_of_words_retention_and_refresh_are_told():
    one = {"prompt": "a", "completion": "tea"}
    rows = [*examples(1), type(examples(1)[0]).from_record(one)]
    told = data_told(rows, 1200, refreshes=True, origin="<b>")
    assert told == (
        "2 rows of 1 to 2 words a prompt, from &lt;b&gt;. They were made anew while it trained. "
        "1,200 ordinary texts, on which it was to stay near its base."
    )
    assert data_told(rows[1:], origin="x") == "1 rows of one word a prompt, from x."


def test_cells_hold_neither_markup_nor_ends_of_cells():
    table = markdown_table([["a|b"], ["<script>x</script>\nnext"]])
    assert table.splitlines() == [
        r"| a\|b |",
        "| --- |",
        "| &lt;script&gt;x&lt;/script&gt; next |",
    ]


def test_a_base_without_a_name_on_the_hub_is_said_to_have_none():
    told = card({"name": "/models/tea"})
    assert "| model | tea, which has no name on the hub that is known |" in told
    assert 'dm.load_model("tea")  # the path to it' in told
    assert ModelCard(told).data.base_model is None
