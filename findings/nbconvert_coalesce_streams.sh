#!/usr/bin/env bash
# nbconvert 7.17.2 with nbclient 0.11.0: prints of an executed cell stay in pieces, whichever of two options one sets.
#
# What a cell prints may arrive in several messages, and each becomes an output of its own. nbconvert has
# `CoalesceStreamsPreprocessor.enabled` to join them, but in one command with `--execute` it runs before the cells do,
# on outputs that are about to be replaced. nbclient has `coalesce_streams`, which joins them after each cell; but this
# trait is not marked as configurable, so `--ExecutePreprocessor.coalesce_streams=True` is answered by the warning that
# it is not recognized, and has no effect. Set from Python the trait works, and so does a second run of nbconvert
# without `--execute`.
#
# Seen: outputs of a cell that prints, waits and prints again: 2 with the first option, 2 with the second, 1 after a
# second run, 1 from Python.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export JUPYTER_CONFIG_DIR=$folder/config JUPYTER_DATA_DIR=$folder/data IPYTHONDIR=$folder/ipython
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check nbconvert==7.17.2 nbclient==0.11.0 nbformat==5.11.1 \
    ipykernel==7.4.0
venv/bin/python -m ipykernel install --prefix venv --name here >/dev/null 2>&1
venv/bin/python - <<'P'
import nbformat

cell = nbformat.v4.new_code_cell("import time\nprint('a', flush=True)\ntime.sleep(2)\nprint('b', flush=True)")
kernel = {"name": "here", "display_name": "here", "language": "python"}
nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), "two.ipynb")
P
run="venv/bin/python -m nbconvert --to notebook --log-level WARN"
$run --execute --CoalesceStreamsPreprocessor.enabled=True two.ipynb --output before.ipynb 2>/dev/null
$run --execute --ExecutePreprocessor.coalesce_streams=True two.ipynb --output option.ipynb 2>said.txt
$run --CoalesceStreamsPreprocessor.enabled=True before.ipynb --output again.ipynb 2>/dev/null
grep -h "not recognized" said.txt
venv/bin/python - 2>/dev/null <<'P'
import nbclient
import nbconvert
import nbformat

print("nbconvert", nbconvert.__version__, "nbclient", nbclient.__version__)
count = {name: len(nbformat.read(f"{name}.ipynb", 4).cells[0].outputs) for name in ("before", "option", "again")}
direct = nbformat.read("two.ipynb", 4)
nbclient.NotebookClient(direct, coalesce_streams=True).execute()
count["python"] = len(direct.cells[0].outputs)
print("outputs of the cell:", count)
raise SystemExit(0 if count == {"before": 2, "option": 2, "again": 1, "python": 1} else 1)
P
