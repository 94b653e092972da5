"""A disk that fills while a sweep trains."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from bad_calls import tool
from facts import assert_states
from service import COMMAND, Service

pytestmark = pytest.mark.slow

# In a mount namespace: $1 is the home, on a disk of its own that is filled once trials run; the rest is the command.
SCRIPT = """
home=$1; shift
mkdir "$home"; mount -t tmpfs -o size=80m none "$home" || exit 99
"$@" > out 2> err & sweep=$!
until [ "$(ls -d "$home"/sweeps/small/trials/*/checkpoints | wc -l)" = 2 ] || ! kill -0 $sweep; do sleep 0.2; done
sleep 1
dd if=/dev/zero of="$home/fill" bs=4k 2> /dev/null; began=$(date +%s)
wait $sweep; echo "code $?"; echo "seconds $(($(date +%s) - began))"
find "$home/sweeps" -name '.*' -type f
rm "$home/fill"
for trial in "$home"/sweeps/small/trials/*; do
    "$2" -c 'import sys; from gansweep.gan.checkpoint import load; load(__import__("pathlib").Path(sys.argv[1]))' \
        "$(ls "$trial"/checkpoints/* | tail -n 1)" && tail -c 1 "$trial/journal.jsonl" | od -An -c
done
"""


def test_a_sweep_whose_disk_is_full_names_the_place_and_ends_in_good_order(service: Service) -> None:
    file = service.write(steps=3000)
    home = service.root / "small home"
    words = [tool("unshare"), "--mount", "--map-root-user", "bash", "-c", SCRIPT.replace('"$2"', f'"{COMMAND[0]}"')]
    done = subprocess.run(
        [*words, "bash", str(home), *COMMAND, "run", str(file), "--home", str(home)],
        cwd=service.root,
        capture_output=True,
        text=True,
        timeout=500,
    )
    if done.returncode == 99:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a tmpfs cannot be mounted here")
    said = (service.root / "err").read_text()
    code, seconds, *rest = done.stdout.splitlines()
    assert code == "code 1", said
    assert int(seconds.removeprefix("seconds ")) < 40
    place = re.escape(str(home))
    full = rf"\d\d:\d\d:\d\d  {place}/sweeps/small/trials/\S+: no space [^/]+ {place}"
    assert len(re.findall(full, said)) == 1, said
    assert_states(said.splitlines()[-1], "records cannot be written", "of 2 trials", "same command")
    assert "our bug" not in said
    assert "Traceback" not in said
    assert [line.strip() for line in rest] == [r"\n", r"\n"], "checkpoints are whole, journals end with a whole record"
