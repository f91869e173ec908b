#!/usr/bin/env bash
# jsonschema 4.26.0 with the extra `format-nongpl`: importing it takes seconds, for a format that hardly any schema has.
#
# The formats `iri` and `iri-reference` are checked by rfc3987-syntax since jsonschema 4.25.0, and importing that package
# builds a parser from its grammar, whether or not a schema names these formats. jupyter-events asks for the extra, and
# nbformat imports jsonschema: so whatever reads a notebook starts later, each process of pytest with nbval, nbconvert,
# nbgrader and Jupyter itself. jsonschema 4.24.1 has the extra without these formats; the pins keep to it.
#
# Seen: importing takes 1.6 seconds of a processor with 4.26.0 and 0.2 with 4.24.1; 3.3 and 0.4 beside other work.
#
# Exits with 0 while the newer one takes at least three times as long.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
seconds() {
    venv/bin/python -m pip install -q --disable-pip-version-check "jsonschema[format-nongpl]==$1"
    venv/bin/python -c 'import jsonschema' # the first time it is compiled
    venv/bin/python -c 'import time, jsonschema; print(round(time.process_time(), 2))'
}
old=$(seconds 4.24.1)
new=$(seconds 4.26.0)
echo "processor seconds of the import: jsonschema 4.24.1 $old, 4.26.0 $new"
venv/bin/python -c 'import sys; sys.exit(float(sys.argv[1]) < 3 * float(sys.argv[2]))' "$new" "$old"
