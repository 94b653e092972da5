"""The section that explains the terms of a report, one line each."""

from __future__ import annotations

from typing import Any

from gansweep.health.metrics import COVERAGE, D_AUC, D_FRESH, DENSITY, FD_RATIO, MEASURED_ONCE, METRICS
from gansweep.report.study import Study, head, paragraphs, section, table

EXPLAINED = (FD_RATIO, COVERAGE, DENSITY, D_AUC, D_FRESH)
OTHERS = (
    ("configuration", "the settings of a trial without its seed"),
    ("replicates", "trials of one configuration that differ only in the seed"),
    ("may be best", "multiple comparisons with the best do not exclude the configuration at 95\u00a0% confidence"),
    ("onset", "first step at which a failure or a state shows"),
)


def terms(study: Study) -> dict[str, Any]:
    """Return the section with a table of terms: the recorded metrics that the report shows, and others."""
    recorded = [name for name in (*EXPLAINED, *MEASURED_ONCE) if name in study.tables.evaluations]
    metrics = [METRICS[name] for name in dict.fromkeys((study.metric, *recorded)) if name in METRICS]
    rows = [*((one.label, one.explanation) for one in metrics), *OTHERS]
    more = paragraphs("G is the generator, D the discriminator. All terms: docs/glossary.md in gansweep's sources.")
    return section("Terms", table([head("term"), head("meaning", wide=True)], rows), more, new_page=True)
