"""Environment variables of Ray. They are set before Ray is imported, since Ray reads them at import."""

from __future__ import annotations

import os
import secrets

# Variables of processes that train. On a cluster they are children of a node, which has its own environment.
WORKERS = {
    # Freed memory is kept for the next step, in huge pages, instead of being mapped again for every step:
    # 7 % of a CPU step at 16 maps (tests/benchmarks/bare_loop.py, two processes in parallel).
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_TOP_PAD_": str(2**26),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial that asks for no GPU sees none
}


def set_up(*, joining: bool) -> None:
    """Set Ray's environment variables. Call this function once, before Ray is imported.

    Args:
        joining: Whether an existing cluster is joined, which has its own token.
    """
    os.environ.update(
        {
            "RAY_AIR_NEW_OUTPUT": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_CHDIR_TO_TRIAL_DIR": "0",
            "RAY_task_events_report_interval_ms": "0",  # for Ray's dashboard, which is not started
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_prestart_worker_first_driver": "0",  # one for each core, however few trials there are
            "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
            "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
            "TUNE_DISABLE_SIGINT_HANDLER": "1",  # engine/ending.py has ours
            "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # trial folders hold the truth
            **WORKERS,
        }
    )
    if not joining:
        # Ray's ports listen on all interfaces: only a token for this run keeps other users out.
        os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
