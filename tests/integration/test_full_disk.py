"""Disks that fill or become read-only while a sweep trains."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from bad_calls import tool
from facts import assert_states
from scenes import train
from service import COMMAND, Service, assert_equal_weights, histories

from gansweep.records.layout import SweepFolder

pytestmark = pytest.mark.slow

# In a mount namespace: $1 is the home, on a disk of its own, $2 a short path for Ray's files, and the rest is the
# command. When two of three trials have written a checkpoint, the disk fills up. With room on it again, the command is
# run again, and when both have written another one, the disk becomes read-only, as the kernel makes a damaged one: an
# I/O error first. It is mended for a third run, during which $2 and /dev/shm fill up; the third trial begins on these.
INTERRUPTED = """
home=$1 ray=$2; shift 2
mkdir "$home"; truncate -s 80m disk && mkfs.ext4 -q -m 0 disk && mount -o loop disk "$home" || exit 99
mount -t tmpfs -o size=40m none "$ray" && mount -t tmpfs -o size=120m none /dev/shm || exit 99
export TMPDIR=$ray
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
"$@" > out 2> again & sweep=$!
until grep -q 'running from' again || ! kill -0 $sweep; do sleep 0.2; done
for place in "$ray" /dev/shm; do dd if=/dev/zero of="$place/fill" bs=4k 2> /dev/null; done
until [ "$(grep -c 'no space is left' again)" = 2 ] || ! kill -0 $sweep; do sleep 0.2; done
rm "$CHAOS_PACE"
wait $sweep; echo "code $?"
cp -a "$home/sweeps" after
"""


def in_namespace(service: Service, script: str, home: Path, ray: Path, *command: object) -> list[str]:
    """Lines that a script in a mount namespace of its own prints, given two places and gansweep's command line."""
    words = [tool("unshare"), "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "bash", "-c", script]
    done = subprocess.run(
        [*words, "bash", str(home), str(ray), *COMMAND, *map(str, command)],
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


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is short enough for Ray's sockets."""
    with TemporaryDirectory(prefix="gs", dir="/tmp") as folder:
        yield Path(folder)


def test_full_disks_are_named_and_the_sweep_goes_on(chaotic: Service, short: Path) -> None:
    """The disk of the home takes no more; then those of Ray's own files, where training continues."""
    Path(chaotic.environment["CHAOS_PACE"]).write_text("0.1")  # trials are at work when something happens; see rm
    file, home = chaotic.write(steps=100, rates="[1e-4, 2e-4, 1e-3]"), chaotic.root / "small home"
    two = ("--set", "resources.max_concurrent=2")
    lines = in_namespace(chaotic, INTERRUPTED, home, short, "run", file, "--home", home, *two)
    assert len(lines) == 5, f"files are half-written: {lines}"
    for place, fact, code, seconds in (("full", "no space", *lines[:2]), ("read-only", "dmesg", *lines[2:4])):
        messages = (chaotic.root / place).read_text()
        assert code == "code 1", messages
        assert int(seconds.removeprefix("seconds ")) < 40
        trial = re.escape(f"{home}/sweeps/small/trials/")
        (named,) = re.findall(rf"\d\d:\d\d:\d\d  {trial}\S+: (.*; .*)", messages)
        assert_states(named, fact)
        assert str(home) in named, "the disk"
        assert_states(messages, "records cannot be written", "of 3 trials", "same command")
        assert "internal error" not in messages
        assert "Traceback" not in messages

    messages = (chaotic.root / "again").read_text()
    assert lines[4] == "code 0", messages
    for place in (str(short), "/dev/shm"):
        full = [line for line in messages.splitlines() if f"no space is left on {place}; free some" in line]
        assert len(full) == 1, messages
        assert full[0].endswith("(for Ray's own files; training continues)")
    assert "Traceback" not in messages
    after, calm = SweepFolder(chaotic.root / "after" / "small"), train(chaotic.home, file)
    assert len(after.planned()) == 3
    assert histories(after) == histories(calm)
    assert_equal_weights(after, calm)
