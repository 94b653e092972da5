"""Ray's environment variables: it reads them when it is imported, so they are set before."""

from __future__ import annotations

import os
import secrets

# Of processes that train. On a cluster they are children of a node that has an environment of its own.
WORKERS = {
    # Freed memory is kept, in huge pages, for the next step instead of being mapped anew each time:
    # 7 % of a CPU step at 16 maps (tests/benchmarks/bare_loop.py, two processes side by side).
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_TOP_PAD_": str(2**26),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial that asks for no GPU sees none
}


def set_up(*, joining: bool) -> None:
    """Call once, before anything imports Ray. joining: a cluster that somebody else began, with its own token."""
    os.environ.update(
        {
            "RAY_AIR_NEW_OUTPUT": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_CHDIR_TO_TRIAL_DIR": "0",
            "RAY_task_events_report_interval_ms": "0",  # for Ray's dashboard, which is not started
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
            "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
            "TUNE_DISABLE_SIGINT_HANDLER": "1",  # engine/ending.py has ours
            "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # trial folders hold the truth
            **WORKERS,
        }
    )
    if not joining:
        # Ray's ports listen on all interfaces: only a token of this run's own keeps others out.
        os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
