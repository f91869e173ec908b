#!/usr/bin/env bash
# From nothing to samples: what it will cost, both stages of a preset, the judges, figures on people never seen.
#
#   launch/full_scale.sh faces128 runs/faces128
#   DATA=prepared/mug launch/full_scale.sh mug128 runs/mug128 --data.root prepared/mug
#   INIT=assets/checkpoints/faces64 launch/full_scale.sh faces128cpu runs/faces128cpu
#
# The same line again goes on where it stopped: each stage resumes from its newest checkpoint, and what is finished is not
# done again. Words behind the folder are handed to every `lfdm train` (--max-hours 7.5, --accumulate 2, --compile, ...).
# DATA is what the figures are measured on, unless it is the procedural faces; VGG a file with the perceptual network's
# weights, for presets that have it; INIT a finished model whose weights both stages begin with, where they fit; LFDM
# the command, if it is not `lfdm`.
set -euo pipefail

if [[ $# -lt 2 || $1 == -* || $2 == -* ]]; then
    echo "usage: $0 PRESET FOLDER [OPTIONS of lfdm train]" >&2
    exit 2
fi
preset=$1 out=$2
shift 2
lfdm=${LFDM:-lfdm}
mkdir -p "$out"

if command -v nvidia-smi >/dev/null; then # watts, utilization and memory every ten seconds, for the energy of the run
    nvidia-smi --query-gpu=timestamp,power.draw,utilization.gpu,memory.used --format=csv,noheader,nounits -l 10 \
        >>"$out/power.csv" &
    trap 'kill %1' EXIT
fi

train() { # STAGE FOLDER OPTIONS...
    local stage=$1 folder=$out/$2
    shift 2
    [[ -e $folder/model.safetensors ]] && return
    local resume=()
    [[ -e $folder/recipe.json ]] && resume=(--resume)
    $lfdm train "$stage" --preset "$preset" --out "$folder" "${resume[@]}" "$@"
    if [[ ! -e $folder/model.safetensors ]]; then # stopped in time by --max-hours
        echo "$0: the $stage is not finished; run the same line again"
        exit 0
    fi
}

if [[ ! -e $out/plan.json ]]; then
    $lfdm plan "$preset" --profile "$out/profile" --out "$out/plan.json" | tee "$out/plan.txt"
fi
train autoencoder ae ${VGG:+--vgg "$VGG"} ${INIT:+--init "$INIT"} "$@"
train judge judge "$@"
if [[ $preset == faces* && -z ${DATA:-} ]]; then # the one that must look at the face; `lfdm evaluate` finds it by its name
    train judge judge_of_faces --data.acting.heads shuffled --wear 1 "$@"
fi
train diffusion dm --autoencoder "$out/ae" ${INIT:+--init "$INIT"} "$@"
[[ -e $out/metrics.json ]] || $lfdm evaluate "$out/dm" --judge "$out/judge" ${DATA:+--data "$DATA"} --out "$out/metrics.json"
echo "done: $out"
