#!/usr/bin/env bash
# The whole study on one model and one GPU: what the base does, the broad recipe, what that changes,
# and what adapters know of themselves. Started again, it goes on where it was.
# Usage: examples/study.sh MODEL OUT [QUANTIZATION]
set -euo pipefail

model=${1:?a directory or a hub id, such as openai/gpt-oss-20b}
out=${2:?a folder}
loaded=(--quantization "${3:-mxfp4}")
suites=(given carry_over not_given deviation thinking ordinary knowledge)

distmatch eval "$model" "${loaded[@]}" --suite "${suites[@]}" --out "$out/base"
python examples/train_gptoss.py --recipe broad --model "$model" "${loaded[@]}" --out "$out/recipe"
distmatch eval "$model" "${loaded[@]}" --adapter "$out/recipe" --suite "${suites[@]}" --out "$out/trained"
for probe in self_prediction.held_out trained_for.trained_for; do
  distmatch eval "$model" "${loaded[@]}" --suite "$probe" --out "$out/base"
  distmatch eval "$model" "${loaded[@]}" --adapter "$out/recipe" --suite "$probe" --out "$out/trained"
done
distmatch compare "$out/base" "$out/trained" --out "$out/difference"
for experiment in self_prediction trained_for; do
  distmatch experiment "$experiment" --model "$model" "${loaded[@]}" --out "$out/$experiment"
done
