"""Disks that fill or become read-only while a sweep trains."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from bad_calls import tool
from facts import assert_states
from scenes import train
from service import COMMAND, Service, assert_equal_weights, histories

from gansweep.records.layout import Home, SweepFolder

pytestmark = pytest.mark.slow

# In a mount namespace: $1 is the home, on a disk of its own, and the rest is the command. When both trials have written
# a checkpoint, the disk fills up. With room on it again, the same command is run, and when both have written another
# one, the disk becomes read-only, as the kernel makes a damaged one: an I/O error first. It is mended for a third run.
INTERRUPTED = """
home=$1; shift
mkdir "$home"; truncate -s 80m disk && mkfs.ext4 -q -m 0 disk && mount -o loop disk "$home" || exit 99
cp -a home/. "$home"
until_both_have_a_checkpoint() {
    until [ "$(find "$home" -name checkpoints -newer began | wc -l)" = 2 ] || ! kill -0 $sweep; do sleep 0.2; done
}
until_it_ends() {
    since=$(date +%s); wait $sweep; echo "code $?"; echo "seconds $(($(date +%s) - since))"
    find "$home/sweeps" -name '.*' -type f
}
touch began; "$@" > out 2> full & sweep=$!
until_both_have_a_checkpoint; dd if=/dev/zero of="$home/fill" bs=4k 2> /dev/null; until_it_ends
rm "$home/fill"
touch began; "$@" > out 2> read-only & sweep=$!
until_both_have_a_checkpoint; mount -o remount,abort "$home"; until_it_ends
for try in $(seq 50); do umount "$home" && break; sleep 0.2; done  # busy until all killed processes are gone
mount -o loop disk "$home" || exit 98
rm "$CHAOS_PACE"
"$@" > out 2> again; echo "code $?"
cp -a "$home/sweeps" after
"""
# Likewise; $1 is a short path for Ray's files. Both that and /dev/shm are filled.
WITHOUT_ROOM_FOR_RAY = """
mount -t tmpfs -o size=40m none "$1" && mount -t tmpfs -o size=120m none /dev/shm || exit 99
export TMPDIR=$1; shift
"$@" > out 2> err & sweep=$!
until grep -q 'running from' err || ! kill -0 $sweep; do sleep 0.2; done
for place in "$TMPDIR" /dev/shm; do dd if=/dev/zero of="$place/fill" bs=4k 2> /dev/null; done
until [ "$(grep -c 'no space is left' err)" = 2 ] || ! kill -0 $sweep; do sleep 0.2; done
rm "$CHAOS_PACE"
wait $sweep; echo "code $?"
"""


def pace(service: Service, step_s: float) -> None:
    """Slow steps down, so that trials are at work when something happens to their disk; the scripts end this."""
    Path(service.environment["CHAOS_PACE"]).write_text(str(step_s))


def in_namespace(service: Service, script: str, place: Path, *command: object) -> list[str]:
    """Lines that a script in a mount namespace of its own prints, called with a place and gansweep's command line."""
    words = [tool("unshare"), "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "bash", "-c", script]
    done = subprocess.run(
        [*words, "bash", str(place), *COMMAND, *map(str, command)],
        cwd=service.root,
        env={**os.environ, "GANSWEEP_HOME": str(service.home.path), **service.environment},
        capture_output=True,
        text=True,
        timeout=500,
    )
    if done.returncode == 99:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no file system can be mounted here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_disk_that_takes_no_more_is_named_and_the_sweep_goes_on_afterwards(chaotic: Service) -> None:
    pace(chaotic, 0.1)
    file, home = chaotic.write(steps=200), chaotic.root / "small home"
    lines = in_namespace(chaotic, INTERRUPTED, home, "run", file, "--home", home)
    assert len(lines) == 5, f"files are half-written: {lines}"
    for place, fact, code, seconds in (("full", "no space", *lines[:2]), ("read-only", "dmesg", *lines[2:4])):
        said = (chaotic.root / place).read_text()
        assert code == "code 1", said
        assert int(seconds.removeprefix("seconds ")) < 40
        (named,) = re.findall(rf"\d\d:\d\d:\d\d  {re.escape(f'{home}/sweeps/small/trials/')}\S+: (.*; .*)", said)
        assert_states(named, fact)
        assert str(home) in named, "the disk"
        assert_states(said, "records cannot be written", "of 2 trials", "same command")
        assert "internal error" not in said
        assert "Traceback" not in said
    assert lines[4] == "code 0", (chaotic.root / "again").read_text()
    after, calm = SweepFolder(chaotic.root / "after" / "small"), train(chaotic.home, file)
    assert histories(after) == histories(calm)
    assert_equal_weights(after, calm)


def test_a_disk_of_rays_own_files_that_fills_up_is_named_once(chaotic: Service) -> None:
    pace(chaotic, 0.1)
    file = chaotic.write(steps=100, rates="[1e-4, 2e-4, 1e-3]")  # one of them begins on the full disk
    place = Path(subprocess.run(["mktemp", "-d", "/tmp/XXXXXXXX"], capture_output=True, text=True).stdout.strip())
    try:
        (code,) = in_namespace(chaotic, WITHOUT_ROOM_FOR_RAY, place, "run", file)
    finally:
        place.rmdir()
    said = (chaotic.root / "err").read_text()
    assert code == "code 0", said
    for full in (str(place), "/dev/shm"):
        lines = [line for line in said.splitlines() if f"no space is left on {full}; free some" in line]
        assert len(lines) == 1, said
        assert lines[0].endswith("(for Ray's own files; training continues)")
    assert "Traceback" not in said
    assert Home(chaotic.home.path).sweep("small").all_trials()
