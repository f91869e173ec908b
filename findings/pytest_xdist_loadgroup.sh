#!/usr/bin/env bash
# pytest 9.2.0 with pytest-xdist 3.8.0: `--dist loadgroup` scatters the tests of a group, without a word.
#
# Tests with one `xdist_group` mark belong on one worker, where they share a fixture of their module. A worker adds the
# group's name to the ids that it reports, by writing to an attribute of pytest's items with a leading underscore;
# the scheduler cuts it off again and puts together what is called alike. With pytest 9.2.0 the ids arrive without the
# name, every test becomes a group of its own, and the fixture is made once a worker. Nothing fails and nothing warns:
# only the time grows. `--dist loadfile` and `--dist loadscope` go by the file and are not touched.
#
# Seen: eight tests of one group on two workers run on 2 of them with pytest 9.2.0, on 1 with pytest 9.1.1, and on 1 with
# either by `--dist loadfile`.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check pytest==9.2.0 pytest-xdist==3.8.0
cat >test_group.py <<'P'
import time
from pathlib import Path

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_member(number, worker_id):
    time.sleep(0.3)  # so that a worker without work would take some
    Path("seen", f"{worker_id}-{number}").touch()
P
seen() {
    rm -rf seen && mkdir seen
    venv/bin/python -m pytest -q -n 2 --dist "$1" test_group.py >/dev/null
    test "$(ls seen | wc -l)" = 8
    ls seen | cut -d- -f1 | sort -u | wc -l
}
new=$(seen loadgroup) file=$(seen loadfile)
venv/bin/python -m pip install -q --disable-pip-version-check pytest==9.1.1
old=$(seen loadgroup)
echo "workers that ran the group: pytest 9.2.0 loadgroup $new, loadfile $file; pytest 9.1.1 loadgroup $old"
test "$new $file $old" = "2 1 1"
