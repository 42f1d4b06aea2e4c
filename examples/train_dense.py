"""Teach a dense model to control its output, in 4 bit if asked for; flags as `train_gptoss.py`.

python examples/train_dense.py --model smollm2-135m --quantization nf4 --out runs/nf4
python examples/train_dense.py --model meta-llama/Llama-3.1-8B-Instruct --quantization nf4
"""

from train_gptoss import arguments, chosen_model, parsed, teach


def main() -> None:
    """Load the model, and teach it."""
    parser = arguments(__doc__, model="smollm2-135m", quantization=None, rank=16)
    args = parsed(parser)
    teach(args, chosen_model(args))


if __name__ == "__main__":
    main()
