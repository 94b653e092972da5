#!/bin/bash
# Record the home folder that tests/old_homes/VERSION.tar.xz holds: bash record.sh OUTPUT.tar.xz
# Run it with the gansweep of that version on the PATH. The home is recorded in a folder that other machines do not
# have, so that tests which unpack it elsewhere also test a moved home. Its trials: one completed, one interrupted by
# `gansweep stop`, one that has not begun. The cache of decoded images is left out: it is made again when needed.
set -eu
output=$(realpath "$1")
place=$(mktemp -d /tmp/gansweep-recorded-XXXXXX)
cd "$place"
cat > old.yaml <<'END'
name: old
dataset: {name: digits, image_size: 16}
model: {latent_dim: 8, feature_maps: 2}
training: {steps: 200, batch_size: 16}
evaluation: {per_run: 2, samples: 40}
cadence: {metrics: 10, samples: 200, checkpoints: 20}
retention: {checkpoints: 1}
search: {method: grid, over: {training.learning_rate: [0.0001, 0.0002, 0.0003]}}
stop: none
resources: {max_concurrent: 1}
END
export CUDA_VISIBLE_DEVICES=""
gansweep run old.yaml --home home &
driver=$!
until second=$(python -c "import json; print(json.load(open('home/sweeps/old/plan.json'))['trials'][1])" 2>/dev/null) &&
      test -s "home/sweeps/old/trials/$second/journal.jsonl"; do sleep 0.05; done
gansweep stop old --home home
wait $driver
gansweep status old --home home
rm -rf home/cache home/logs
tar --owner=0 --group=0 -cJf "$output" home
cd /
rm -rf "$place"
