#!/usr/bin/env bash
# One run on two machines that reach each other over the network. On the first, then on the second:
#
#   launch/two_machines.sh 0 ADDRESS_OF_FIRST diffusion --preset faces64 --autoencoder runs/ae --out runs/dm
#   launch/two_machines.sh 1 ADDRESS_OF_FIRST diffusion --preset faces64 --autoencoder runs/ae --out runs/dm
#
# Both need the same version of everything and as many GPUs each; GPUS=2 in front uses two of them. The first machine
# writes the run's folder. Without a shared disk: copy runs/ae to both before, and to resume, runs/dm too.
set -euo pipefail

if [[ $# -lt 3 || ! $1 =~ ^[01]$ ]]; then
    echo "usage: $0 0|1 ADDRESS_OF_FIRST STAGE [OPTIONS of lfdm train]" >&2
    exit 2
fi
rank=$1 first=$2
shift 2
gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}

exec accelerate launch --multi_gpu --num_machines 2 --machine_rank "$rank" --num_processes "$((2 * gpus))" \
    --main_process_ip "$first" --main_process_port "${PORT:-29500}" --mixed_precision no --dynamo_backend no \
    -m lfdm_lite.cli train "$@"
