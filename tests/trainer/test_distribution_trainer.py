"""The trainer, on tiny models: what it optimises, what it leaves alone, and how it resumes."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from distmatch.data import Example, WordDistribution
from distmatch.data.batching import make_batch
from distmatch.errors import ConfigError, DataError, LoadError
from distmatch.losses import DIVERGENCES, forward_kl, jensen_shannon, reverse_kl
from distmatch.losses.words import other_shape_kl, support_log_probs
from distmatch.models.adapters import load_adapter
from distmatch.models.lora import lora
from distmatch.scoring import model_encoder, row_logits, score_batch, score_tries
from distmatch.trainer import DistributionConfig, DistributionTrainer
from tests.tiny import tiny_model, tiny_tokenizer

PAIRS = [("red", "blue"), ("cat", "dog"), ("otter", "red fox"), ("tea", "milk")]


def examples(count: int = 8, other: float | str = 0.0) -> list[Example]:
    mass = 1.0 - other if isinstance(other, float) else 0.9 if other == "preserve" else 1.0
    rows = []
    for i in range(count):
        p = (i + 1) / (count + 1)
        words = PAIRS[i % len(PAIRS)]
        ask = [{"role": "user", "content": f"{words[0]} {p:.2f} {words[1]} {1 - p:.2f}"}]
        turn = ({"role": "user", "content": f"{words[0]} {1 - p:.2f} {words[1]} {p:.2f}"},)
        target = WordDistribution(words, (p * mass, (1 - p) * mass), other)
        rows.append(Example(prompt=tuple(ask), target=target, rotations=(turn,)))
    return rows


def small_model(**settings):
    return tiny_model("llama", num_hidden_layers=2, **settings)


def trainer(
    folder: Path, rows: list[Example] | None = None, model=None, **given
) -> DistributionTrainer:
    data = {"train_dataset": examples() if rows is None else rows}
    for name in ("eval_dataset", "retention_dataset", "refresh", "callbacks"):
        data[name] = given.pop(name, None)
    peft_config = given.pop("peft_config", lora("all", rank=4))
    settings = {"max_steps": 4, "per_device_train_batch_size": 4, "disable_tqdm": True}
    settings |= {"use_cpu": True, "save_strategy": "no", "learning_rate": 1e-2, "logging_steps": 1}
    args = DistributionConfig(output_dir=str(folder), **(settings | given))
    return DistributionTrainer(
        model=small_model() if model is None else model,
        args=args,
        processing_class=tiny_tokenizer(),
        peft_config=peft_config,
        **data,
    )


def losses_logged(run: DistributionTrainer) -> list[float]:
    return [line["loss"] for line in run.state.log_history if "loss" in line]


def adapter_of(run: DistributionTrainer) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}


def test_training_lowers_the_loss_and_logs_tvd_slope_and_other(tmp_path):
    run = trainer(tmp_path, max_steps=40)
    run.train()
    losses = losses_logged(run)
    assert losses[-1] < losses[0] / 3
    first = run.state.log_history[0]
    assert {"loss", "tvd", "slope", "other"} <= set(first)
    assert first["other"] > 0.9 > run.state.log_history[-2]["other"]


def test_the_first_logged_loss_is_the_mean_forward_kl_of_the_whole_step(tmp_path):
    run = trainer(tmp_path, per_device_train_batch_size=8, max_steps=1)
    encoder = model_encoder(run.model, run.processing_class)
    scores = score_tries(run.model, encoder, encoder.encode_all(examples()))
    target = torch.tensor([e.target.probs for e in examples()])
    by_hand = (target * (target.log() - scores.words)).sum(-1).mean()
    run.train()
    assert losses_logged(run)[0] == pytest.approx(float(by_hand), abs=1e-4)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_loop_of_ones_own_can_take_steps_in_the_models_precision(tmp_path, bf16):
    given = {"per_device_train_batch_size": 8, "max_steps": 1}
    own, theirs = (
        trainer(tmp_path / "own", bf16=bf16, **given),
        trainer(tmp_path / "theirs", **given),
    )
    own.current_gradient_accumulation_steps = 1  # which `train` would set
    (batch,) = own.get_train_dataloader()
    loss = own.training_step(own.model, batch)  # `train` alone makes forwards mixed
    assert all(weight.grad is not None for weight in own.model.parameters() if weight.requires_grad)
    theirs.train()
    assert losses_logged(theirs) == [pytest.approx(loss.item(), rel=1e-5)]


@pytest.mark.parametrize(("batch", "accumulation"), [(2, 4), (1, 8), (4, 2), (3, 3)])
def test_accumulation_and_batch_size_change_neither_loss_nor_gradient(
    tmp_path, batch, accumulation
):
    # One step of plain descent at rate 1 moves every weight by minus its gradient.
    given = {"max_steps": 1, "learning_rate": 1.0, "optim": "sgd", "max_grad_norm": 0.0}
    whole = trainer(tmp_path / "a", per_device_train_batch_size=8, **given)
    parts = trainer(
        tmp_path / "b",
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        **given,
    )
    start = adapter_of(whole)
    whole.train()
    parts.train()
    assert losses_logged(parts) == pytest.approx(losses_logged(whole), rel=1e-5)
    for name, value in adapter_of(whole).items():
        gradient, other = (start[name] - moved for moved in (value, adapter_of(parts)[name]))
        assert (gradient - other).norm() <= 1e-5 * gradient.norm(), name


def test_an_empty_batch_gives_a_zero_loss_that_stays_in_the_graph(tmp_path):
    run = trainer(tmp_path)
    loss = run.compute_loss(run.model, {"rows": torch.tensor([], dtype=torch.long)})
    loss.backward()
    assert loss.item() == 0
    grads = [p.grad for p in run.model.parameters() if p.requires_grad]
    assert all(grad is not None and not grad.any() for grad in grads)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, dropout):
    given = {"peft_config": lora("all", rank=4, dropout=dropout), "lr_scheduler_type": "constant"}
    given |= {"save_strategy": "steps", "save_steps": 3, "max_steps": 6}
    straight = trainer(tmp_path / "a", **given)
    straight.train()
    trainer(tmp_path / "b", **(given | {"max_steps": 3})).train()
    resumed = trainer(tmp_path / "b", **given)
    resumed.train(resume_from_checkpoint=True)
    for name, value in adapter_of(straight).items():
        assert torch.equal(adapter_of(resumed)[name], value), name


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    given = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    straight = trainer(tmp_path, **given)
    straight.train()
    state = tmp_path / "checkpoint-4" / "trainer_state.json"
    state.write_text(state.read_text()[:100])
    resumed = trainer(tmp_path, **given)
    resumed.train(resume_from_checkpoint=True)
    for name, value in adapter_of(straight).items():
        assert torch.equal(adapter_of(resumed)[name], value), name


def test_resuming_where_there_is_no_checkpoint_starts_at_the_beginning(tmp_path):
    run = trainer(tmp_path, max_steps=1)
    run.train(resume_from_checkpoint=True)
    assert run.state.global_step == 1


def test_after_training_in_bfloat16_the_model_computes_in_its_own_precision_again(tmp_path):
    run = trainer(tmp_path, bf16=True, max_steps=2)
    start, mixed = adapter_of(run), []
    run.adapted.get_submodule("base_model.model.model.norm").register_forward_hook(
        lambda *_: mixed.append((torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
    )
    run.train()
    run.train()
    assert [is_cast for with_gradient, is_cast in mixed if with_gradient] == [True] * 4
    assert any(not torch.equal(value, start[name]) for name, value in adapter_of(run).items())
    encoder = model_encoder(run.model, run.processing_class)
    tries = encoder.encode_all(examples(2))
    fresh = trainer(tmp_path / "fresh")
    fresh.model.load_state_dict(run.model.state_dict())
    measured, expected = (score_tries(m, encoder, tries).words for m in (run.model, fresh.model))
    assert torch.equal(measured, expected)


def moved_to_the_second_word(model, rows: list[Example]) -> list[Example]:
    noise = float(torch.rand(()))  # the refresh may draw: its generator is in the checkpoint
    return [
        replace(row, target=WordDistribution(row.target.words, (0.2 * noise, 1 - 0.2 * noise)))
        for row in rows
    ]


def test_refreshed_examples_are_trained_on_and_resumed_bit_for_bit(tmp_path):
    given = {"refresh": moved_to_the_second_word, "refresh_steps": 2, "max_steps": 6}
    given |= {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant"}
    straight = trainer(tmp_path / "a", **given)
    straight.train()
    assert all(row.target.probs[1] >= 0.8 for row in straight.train_examples)
    trainer(tmp_path / "b", **(given | {"max_steps": 4})).train()
    resumed = trainer(tmp_path / "b", **given)
    resumed.train(resume_from_checkpoint=True)
    for name, value in adapter_of(straight).items():
        assert torch.equal(adapter_of(resumed)[name], value), name


def test_evaluation_during_training_logs_every_metric(tmp_path):
    run = trainer(tmp_path, eval_dataset={"held": examples(4)}, eval_strategy="steps", eval_steps=2)
    run.train()
    lines = [line for line in run.state.log_history if "eval_held_tvd" in line]
    names = [
        "tvd",
        "forward_kl",
        "other",
        "control_tvd",
        "slope",
        "swap_gap",
        "policy_tvd",
        "within_0.05",
    ]
    assert len(lines) == 2
    assert {f"eval_held_{name}" for name in [*names, "within_0.10", "within_0.20", "loss"]} <= set(
        lines[0]
    )


def other_shape(run: DistributionTrainer, rows: list[Example]) -> float:
    batch = make_batch(run.encoder.encode_all(rows), run.encoder)
    with torch.no_grad():
        adapted = row_logits(run.model.eval(), batch)
        with run.model.disable_adapter():
            base = row_logits(run.model, batch)
    return float(other_shape_kl(adapted, base, batch).mean())


def test_preserve_keeps_more_of_the_base_shape_of_other_than_a_number_does(tmp_path):
    given = {"max_steps": 40, "learning_rate": 5e-3}
    kept = trainer(tmp_path / "a", examples(2, "preserve"), tiny_model("llama"), **given)
    number = trainer(tmp_path / "b", examples(2, 0.1), tiny_model("llama"), **given)
    kept.train()
    number.train()
    assert other_shape(kept, examples(2)) < 0.8 * other_shape(number, examples(2))


def test_at_most_becomes_the_smaller_of_the_bound_and_the_base(tmp_path):
    ask = ({"role": "user", "content": "say cat"},)
    targets = [WordDistribution(("cat",), (bound,), "at_most") for bound in (1e-9, 0.9)]
    rows = [Example(prompt=ask, target=target, boundary="none") for target in targets]
    run = trainer(tmp_path, rows)
    base = score_tries(small_model(), run.encoder, run.train_tries).words.exp()[0, 0]
    resolved = [row.target for row in run.train_examples]
    assert resolved[0].probs == (1e-9,)
    assert resolved[1].probs[0] == pytest.approx(float(base), rel=1e-4)
    assert {target.other for target in resolved} == {"preserve"}


def test_retention_is_reported_and_holds_the_model_near_its_base(tmp_path):
    texts = ["green tea and milk are on the table", "the red fox ran over the hill"]
    given = {"retention_dataset": texts, "eval_dataset": examples(2), "max_steps": 15}
    free = trainer(tmp_path / "a", **given)
    held = trainer(tmp_path / "b", retention_weight=20.0, **given)
    assert free.evaluate()["eval_retention_kl"] == pytest.approx(0, abs=1e-6)
    free.train()
    held.train()
    assert held.evaluate()["eval_retention_kl"] < 0.5 * free.evaluate()["eval_retention_kl"]


def test_every_retention_text_has_its_turn(tmp_path, monkeypatch):
    texts = ["green tea", "the red fox", "milk on the table", "a cat and a dog", "blue otter"]
    run = trainer(tmp_path, examples(2), retention_dataset=texts, retention_weight=1.0)
    used = []
    kl = run._companions.kl
    monkeypatch.setattr(
        run._companions, "kl", lambda model, some, at: used.extend(some) or kl(model, some, at)
    )
    run.train()  # 4 epochs of 2 rows
    assert set(used) == set(run.texts)


@pytest.mark.parametrize(("per_step", "accumulated"), [(1, 2), (3, 1), (3, 2), (5, 2)])
def test_so_many_retention_texts_accompany_a_step_and_all_have_their_turn(
    per_step, accumulated, tmp_path, monkeypatch
):
    texts = ["green tea", "the red fox", "milk on the table", "a cat and a dog", "blue otter"]
    run = trainer(
        tmp_path,
        retention_dataset=texts,
        retention_weight=1.0,
        retention_per_step=per_step,
        per_device_train_batch_size=4 // accumulated,
        gradient_accumulation_steps=accumulated,
    )
    used = []
    kl = run._companions.kl
    monkeypatch.setattr(
        run._companions, "kl", lambda model, some, at: used.extend(some) or kl(model, some, at)
    )
    run.train()
    assert used == [run.texts[i % len(texts)] for i in range(4 * per_step)]


def test_retention_texts_are_cut_where_it_is_said(tmp_path):
    texts = ["green tea and milk are on the table"]
    assert [len(text) for text in trainer(tmp_path, retention_dataset=texts).texts] != [3]
    run = trainer(tmp_path, retention_dataset=texts, retention_tokens=3)
    assert [len(text) for text in run.texts] == [3]


def test_an_adapter_is_trained_further(tmp_path):
    first = trainer(tmp_path / "a", max_steps=20)
    first.train()
    first.save_model()
    frozen = load_adapter(small_model(), tmp_path / "a")
    with pytest.raises(ConfigError, match=r"no weight is trainable.*trainable=True"):
        trainer(tmp_path / "b", model=frozen, peft_config=None).train()
    model = load_adapter(small_model(), tmp_path / "a", trainable=True)
    further = trainer(tmp_path / "b", model=model, peft_config=None, max_steps=20)
    further.train()
    assert losses_logged(further)[0] == pytest.approx(losses_logged(first)[-1], rel=0.3)
    assert losses_logged(further)[-1] < losses_logged(further)[0]


def test_what_was_trained_remembers_its_base(tmp_path):
    first = trainer(tmp_path / "a", save_strategy="steps", save_steps=2)
    first.train()
    first.save_model()
    for folder in ("a", "a/checkpoint-2"):
        with pytest.raises(LoadError, match="trained on another base"):
            load_adapter(small_model(seed=1), tmp_path / folder)
    with pytest.raises(LoadError, match="trained on another base"):
        trainer(tmp_path / "a", model=small_model(seed=1)).train(resume_from_checkpoint=True)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    def overflowing(log_probs, target):
        return forward_kl(log_probs, target) / (log_probs.exp()[..., -1] < 0.9)

    run = trainer(tmp_path, loss=overflowing)
    with pytest.raises(ConfigError, match="overflowing is inf by step 1: lower learning_rate"):
        run.train()


@pytest.mark.parametrize(
    ("metric", "higher"), [("tvd", False), ("eval_within_0.10", True), (None, None)]
)
def test_the_best_checkpoint_is_the_one_with_the_better_metric(tmp_path, metric, higher):
    args = DistributionConfig(output_dir=str(tmp_path), metric_for_best_model=metric, use_cpu=True)
    assert args.greater_is_better is higher


def test_exactly_the_adapter_moves(tmp_path):
    run = trainer(tmp_path, peft_config=lora("q,v@1", rank=2))
    before = {n: p.detach().clone() for n, p in run.model.named_parameters()}
    run.train()
    moved = {n for n, p in run.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all(".layers.1.self_attn." in n and "lora_" in n for n in moved)


def test_each_term_of_the_loss_is_logged(tmp_path):
    texts = ["red or blue or milk", "the cat and the dog drink tea"]
    run = trainer(
        tmp_path, examples(other="preserve"), retention_dataset=texts, retention_weight=3.0
    )
    run.train()
    lines = [line for line in run.state.log_history if "loss" in line]
    terms = ("divergence", "preserve_kl", "retention_kl")
    assert all(lines[-1][term] > 0 for term in terms)
    for line in lines:
        divergence, preserve, retention = (line[term] for term in terms)
        assert line["loss"] == pytest.approx(divergence + preserve + 3 * retention, rel=1e-4)


def test_a_loss_of_one_term_is_logged_once(tmp_path):
    run = trainer(tmp_path, max_steps=1)
    run.train()
    assert not {"divergence", "preserve_kl", "retention_kl"} & set(run.state.log_history[0])


def test_a_loss_that_does_not_start_says_so(tmp_path):
    run = trainer(tmp_path, loss="total_variation", max_steps=22, learning_rate=1e-6)
    said = []
    logger = logging.getLogger("distmatch.trainer.start_watch")
    logger.addFilter(lambda record: said.append(record.getMessage()) or True)
    run.train()
    assert len(said) == 1
    assert "total_variation has almost no gradient there: set warmup_steps_forward_kl" in said[0]


def test_a_model_that_is_to_say_other_things_is_not_told_to_start(tmp_path):
    run = trainer(tmp_path, examples(other=0.95), max_steps=22, learning_rate=1e-6)
    said = []
    logger = logging.getLogger("distmatch.trainer.start_watch")
    logger.addFilter(lambda record: said.append(record.getMessage()) or True)
    run.train()
    assert said == []


def test_a_loss_may_be_a_function_and_is_saved_by_its_name(tmp_path):
    run = trainer(tmp_path, loss=lambda q, p: forward_kl(q, p), report_to="tensorboard")
    run.train()
    run.save_model()
    assert run.args.loss == "<lambda>"
    assert (tmp_path / "adapter_model.safetensors").is_file()


def test_bad_rows_leave_the_model_without_an_adapter(tmp_path):
    model = small_model()
    with pytest.raises(DataError):
        trainer(tmp_path, [{"prompt": "a ", "words": ["red"], "probs": [1.0]}], model=model)
    trainer(tmp_path, model=model)


def test_refreshed_targets_are_checked_against_the_loss(tmp_path):
    run = trainer(tmp_path, examples(2, 0.1), loss="reverse_kl")
    with pytest.raises(ConfigError, match="row 0: reverse_kl is infinite"):
        run.use_examples(examples(2))


def test_a_floored_target_gives_a_finite_evaluation_loss(tmp_path):
    run = trainer(tmp_path, loss="reverse_kl", target_floor=1e-3, eval_dataset=examples(2))
    assert 0 < run.evaluate()["eval_loss"] < 100


def test_one_of_several_evaluation_sets_can_be_named(tmp_path):
    run = trainer(tmp_path, eval_dataset={"a": examples(2), "b": examples(1)})
    assert {"eval_b_tvd"} <= set(run.evaluate("b"))
    assert not any(name.startswith("eval_a") for name in run.evaluate("b"))
    with pytest.raises(ConfigError, match='unknown eval_dataset "c"'):
        run.evaluate("c")


def test_warm_up_trains_on_forward_kl_first(tmp_path):
    given = {"max_steps": 3, "lr_scheduler_type": "constant"}
    warm = trainer(tmp_path / "a", loss="total_variation", warmup_steps_forward_kl=3, **given)
    plain = trainer(tmp_path / "b", **given)
    warm.train()
    plain.train()
    assert losses_logged(warm) == losses_logged(plain)


@pytest.mark.parametrize("name", [n for n in DIVERGENCES if n != "wasserstein1"])
def test_every_divergence_trains_a_model(tmp_path, name):
    rows = examples(4, 0.05)
    run = trainer(tmp_path, rows, loss=name, warmup_steps_forward_kl=10, max_steps=25)
    encoder = run.encoder
    batch = make_batch(run.train_tries, encoder)

    def kl() -> float:
        with torch.no_grad():
            scores = score_batch(run.model.eval(), batch)
        return float(forward_kl(support_log_probs(scores, batch.is_free), batch.target).mean())

    before = kl()
    run.train()
    assert kl() < before / 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "forwardkl"}, 'unknown loss "forwardkl".*Did you mean "forward_kl"'),
        ({"loss": "reverse_kl"}, "row 0: reverse_kl is infinite.*set target_floor"),
        ({"loss": reverse_kl}, "row 0: reverse_kl is infinite where the target is 0.*for other"),
        ({"loss": partial(jensen_shannon, beta=1.0)}, "row 0: the loss is infinite.*for other"),
        ({"metric_for_best_model": "slope"}, "the best slope is 1.*control_tvd"),
        ({"loss": "forward_kl", "beta": 0.5}, "forward_kl has none"),
        ({"loss": "jensen_shannon", "beta": 1.5}, "beta is 1.5, expected 0 to 1"),
        ({"retention_weight": 0.1}, "retention_weight needs a retention_dataset"),
        ({"refresh_steps": 3}, "refresh and refresh_steps go together"),
        ({"refresh_steps": 0}, "refresh_steps is 0, expected 1 or more"),
        ({"target_floor": 0.4}, "row 0: target_floor 0.4 is too high for 3 outcomes"),
        ({"retention_weight": -1.0}, "retention_weight is -1.0, expected 0 or more"),
        ({"retention_per_step": 0}, "retention_per_step is 0, expected 1 or more, or None"),
        ({"retention_tokens": 1}, "retention_tokens is 1, expected 2 or more"),
        ({"loss": forward_kl, "beta": 0.5}, "beta goes with a loss by name"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        trainer(tmp_path, **given)


def test_metrics_reach_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = trainer(
        tmp_path,
        report_to="tensorboard",
        eval_dataset=examples(2),
        eval_strategy="steps",
        eval_steps=2,
    )
    run.train()
    (folder,) = {path.parent for path in tmp_path.rglob("events.out.tfevents*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    shown = set(events.Tags()["scalars"])
    assert {"train/loss", "train/tvd", "train/slope", "eval/tvd", "eval/swap_gap"} <= shown


def test_an_output_directory_that_holds_another_run_is_refused(tmp_path):
    trainer(tmp_path, save_strategy="steps", save_steps=2, max_steps=2).train()
    with pytest.raises(ConfigError, match=r"holds another run \(checkpoint-2\)"):
        trainer(tmp_path).train()


def test_preserve_without_an_adapter_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"preserve.*needs the base model"):
        trainer(tmp_path, examples(2, "preserve"), peft_config=None)


def test_bad_rows_are_named_with_their_numbers(tmp_path):
    bad = {"prompt": "a", "words": ["b"], "probs": [0.5]}
    with pytest.raises(DataError, match=r"row 1: target probabilities sum to 0\.5"):
        trainer(tmp_path, [examples(1)[0], bad])
