#!/usr/bin/env bash
# A whole run on one GPU in minutes: measure a step, train both stages, measure the result, leave a folder of few files.
#
#   launch/short_gpu.sh --minutes 9 --max-file 15
#
# Needs Python 3.11 or newer with torch and pip, and no network: packages that are missing come from wheels/, which
# `make wheels` fills beforehand, on a machine that has one. PYTHON names another Python, WHEELS another folder.
# Options: --minutes --max-file --preset --device --out --seed --no-compile; see launch/README.md.
set -euo pipefail

began=$(date +%s.%N)
if [[ $# -gt 0 && $1 != --* ]]; then
    echo "usage: $0 [--minutes 9] [--max-file 15] [--preset faces128s] [--device auto] [--out runs/short_gpu]" >&2
    exit 2
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
site=$root/build/short_gpu # what had to be installed; nothing else on this machine is touched

export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
"$python" -m launch.short.packages install "${WHEELS:-$root/wheels}" "$site"
export PYTHONPATH=$site:$PYTHONPATH
exec "$python" -m launch.short --began "$began" "$@"
