"""Without bitsandbytes and every extra, importing and training work; what needs one names it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# One process for all, since each costs seconds of imports. It hides the packages from the import
# system, as if they had never been installed.
SCRIPT = """
import sys
from importlib.machinery import PathFinder

HIDDEN = {"bitsandbytes", "matplotlib", "wordfreq", "datasets", "tensorboard", "beartype", "openai"}

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in HIDDEN
        return None if hidden else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]

import distmatch as dm
from distmatch.evals import Endpoint, LocalModel, NotGiven, OwnExamples, measure
from tests.tiny import tiny_model, tiny_tokenizer

train, test = dm.data.output_control(n=4, words=2, n_test=2)
trainer = dm.DistributionTrainer(
    model=tiny_model("llama"),
    processing_class=tiny_tokenizer(),
    args=dm.DistributionConfig(output_dir=sys.argv[1], max_steps=1, use_cpu=True),
    peft_config=dm.lora("q,v", rank=2),
    train_dataset=train,
)
trainer.train()
report = dm.evaluate(trainer.model, tiny_tokenizer(), test)
tiny_model("llama").save_pretrained(sys.argv[1] + "/model")
tiny_tokenizer().save_pretrained(sys.argv[1] + "/model")
for needs in (
    lambda: dm.plots.calibration(report),
    lambda: measure(LocalModel(model=trainer.model, tokenizer=tiny_tokenizer()), NotGiven()),
    lambda: measure(Endpoint(model="tiny", url="http://localhost/v1"), OwnExamples(rows=test)),
    lambda: dm.load_model(sys.argv[1] + "/model", quantization="nf4"),
):
    try:
        needs()
    except ImportError as error:
        print("refused:", error)
"""


def test_training_works_without_the_extras_and_what_needs_one_names_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused = [line for line in done.stdout.splitlines() if line.startswith("refused:")]
    assert len(refused) == 4, done.stdout
    assert 'pip install "distmatch[plots]"' in refused[0]
    assert 'pip install "distmatch[words]"' in refused[1]
    assert 'pip install "distmatch[endpoints]"' in refused[2]
    assert "pip install bitsandbytes" in refused[3]
