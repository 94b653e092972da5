"""CPU seconds of the importances of four settings over 200 trials, optuna's import apart; about 1 s is expected.

python tests/benchmarks/importance.py
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from gansweep.report.importance import importances


def main() -> None:
    rng = np.random.default_rng(0)
    trials = pd.DataFrame(rng.random((200, 4)), columns=list("abcd"))
    target = pd.Series(rng.normal(size=200))
    importances(trials.head(5), ["a"], target.head(5))  # loads optuna
    began = time.process_time()
    importances(trials, list("abcd"), target)
    print(f"{time.process_time() - began:.2f} s")


if __name__ == "__main__":
    main()
