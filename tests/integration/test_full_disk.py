"""Disks that fill or become read-only while a sweep trains."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from bad_calls import tool
from facts import assert_states
from service import COMMAND, Service, assert_equal_weights, histories

from gansweep.records.layout import Home, SweepFolder

pytestmark = pytest.mark.slow

# In a mount namespace: $1 is the home, on a disk of its own, and the rest is the command. Once both trials have a
# checkpoint, the disk takes no more; once the sweep has ended, the disk is mended and the same command is run again.
INTERRUPTED = """
home=$1; shift
mkdir "$home"; {mount} || exit 99
"$@" > out 2> err & sweep=$!
until [ "$(ls -d "$home"/sweeps/small/trials/*/checkpoints | wc -l)" = 2 ] || ! kill -0 $sweep; do sleep 0.2; done
sleep 1
{fill}; began=$(date +%s)
wait $sweep; echo "code $?"; echo "seconds $(($(date +%s) - began))"
find "$home/sweeps" -name '.*' -type f
{free} || exit 98
"$@" > out 2> again; echo "code $?"
cp -a "$home/sweeps" after
"""
FULL = {
    "mount": 'mount -t tmpfs -o size=80m none "$home"',
    "fill": 'dd if=/dev/zero of="$home/fill" bs=4k 2> /dev/null',
    "free": 'rm "$home/fill"',
}
READ_ONLY = {  # as the kernel does when it finds a damaged file system: first an I/O error, then read-only
    "mount": 'truncate -s 80m disk && mkfs.ext4 -q -m 0 disk && mount -o loop disk "$home"',
    "fill": 'mount -o remount,abort "$home"',
    "free": 'umount "$home" && mount -o loop disk "$home"',
}
# Likewise; $1 is a short path for Ray's files. Both that and /dev/shm are filled.
WITHOUT_ROOM_FOR_RAY = """
mount -t tmpfs -o size=40m none "$1" && mount -t tmpfs -o size=120m none /dev/shm || exit 99
export TMPDIR=$1; shift
"$@" > out 2> err & sweep=$!
until grep -q 'running from' err || ! kill -0 $sweep; do sleep 0.2; done
for place in "$TMPDIR" /dev/shm; do dd if=/dev/zero of="$place/fill" bs=4k 2> /dev/null; done
wait $sweep; echo "code $?"
"""


def in_namespace(service: Service, script: str, place: Path, *command: object) -> list[str]:
    """Lines that a script in a mount namespace of its own prints, called with a place and gansweep's command line."""
    words = [tool("unshare"), "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "bash", "-c", script]
    done = subprocess.run(
        [*words, "bash", str(place), *COMMAND, *map(str, command)],
        cwd=service.root,
        env={**os.environ, "GANSWEEP_HOME": str(service.home.path)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    if done.returncode == 99:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no file system can be mounted here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("disk", "fact"),
    [(FULL, "no space"), (READ_ONLY, "dmesg")],
)
def test_a_disk_that_takes_no_more_is_named_and_the_sweep_goes_on_afterwards(
    service: Service, disk: dict[str, str], fact: str
) -> None:
    file, home = service.write(steps=1500), service.root / "small home"
    script = INTERRUPTED.format(**disk)
    code, seconds, *left, again = in_namespace(service, script, home, "run", file, "--home", home)
    said = (service.root / "err").read_text()
    assert code == "code 1", said
    assert int(seconds.removeprefix("seconds ")) < 40
    (named,) = re.findall(rf"\d\d:\d\d:\d\d  {re.escape(f'{home}/sweeps/small/trials/')}\S+: (.*; .*)", said)
    assert_states(named, fact)
    assert str(home) in named, "the disk"
    assert_states(said, "records cannot be written", "of 2 trials", "same command")
    assert "internal error" not in said
    assert "Traceback" not in said
    assert left == [], "no file is half-written"
    assert again == "code 0", (service.root / "again").read_text()
    service.call("run", file)
    after = SweepFolder(service.root / "after" / "small")
    assert histories(after) == histories(service.folder())
    assert_equal_weights(after, service.folder())


def test_a_disk_of_rays_own_files_that_fills_up_is_named_once(service: Service) -> None:
    file = service.write(steps=600, rates="[1e-4, 2e-4, 1e-3, 2e-3]")  # two of them begin on the full disk
    place = Path(subprocess.run(["mktemp", "-d", "/tmp/XXXXXXXX"], capture_output=True, text=True).stdout.strip())
    try:
        (code,) = in_namespace(service, WITHOUT_ROOM_FOR_RAY, place, "run", file)
    finally:
        place.rmdir()
    said = (service.root / "err").read_text()
    assert code == "code 0", said
    for full in (str(place), "/dev/shm"):
        lines = [line for line in said.splitlines() if f"no space is left on {full}; free some" in line]
        assert len(lines) == 1, said
        assert lines[0].endswith("(for Ray's own files; training continues)")
    assert "Traceback" not in said
    assert Home(service.home.path).sweep("small").all_trials()
