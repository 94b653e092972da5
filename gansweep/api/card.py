"""Model cards: a README that says what a saved generator makes, how it was trained, and what its verdicts are.

The layout is that of the Hugging Face hub, which takes the folder as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gansweep.health.metrics import METRICS
from gansweep.health.verdict import KINDS, Verdict, title
from gansweep.records.layout import flat
from gansweep.report.words import measured, number
from gansweep.words import counted

if TYPE_CHECKING:
    from gansweep.gan.restore import Restored

PRIVATE = ("dataset.path", "dataset.data_dir")  # paths on the machine that trained
COLOURS = {1: "grey", 3: "RGB"}
EXPLAINED = {name: one.explanation for name, one in METRICS.items()}


@dataclass(frozen=True)
class Provenance:
    """Records about a generator and its trial. All fields are empty for a generator without a trial's folder.

    Attributes:
        document: Content of the trial's trial.json.
        verdicts: Verdicts on the trial, by precedence.
        metrics: Metrics of the last evaluation at or before the generator's step, by name.
        measured_at: Step of that evaluation; None if there was none.
        origin: Name of the file that the weights were imported from; empty if they were not imported.
    """

    document: Mapping[str, Any] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    measured_at: int | None = None
    origin: str = ""


def card(name: str, found: Restored, provenance: Provenance) -> str:
    """Return the text of a model card, in Markdown.

    Args:
        name: Title of the card.
        found: The generator.
        provenance: Records about the generator.
    """
    parts = [
        _head(found),
        f"# {name}",
        _summary(found, provenance.origin),
        "![Samples of the generator](samples.png)",
        _use(name, found),
    ]
    parts += [_data(provenance.document), _verdicts(provenance), _metrics(provenance), _settings(found, provenance)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(found: Restored) -> str:
    tags = ["gan", "pytorch", "image-generation"]
    task = [] if found.classes else ["pipeline_tag: unconditional-image-generation"]
    return "\n".join(["---", "library_name: gansweep", *task, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _summary(found: Restored, origin: str) -> str:
    side, channels = found.settings["image_size"], found.settings["channels"]
    classes = (
        f" of {counted(len(found.classes), 'class', 'classes')} ({', '.join(found.classes)})" if found.classes else ""
    )
    trained = f"trained as a GAN for {counted(found.step, 'step')} with gansweep" if found.step else "trained elsewhere"
    how = f"imported from {origin}" if origin else trained
    return f"A generator of {COLOURS[channels]} images of {side}×{side} pixels{classes}, {how}."


def _use(name: str, found: Restored) -> str:
    labels = ", torch.zeros(16, dtype=torch.int64)" if found.classes else ""
    what = "  # z, and the class of each image" if found.classes else ""
    shape = f"(16, {found.settings['channels']}, {found.settings['image_size']}, {found.settings['image_size']})"
    return f"""## Use

```python
import gansweep
import torch

generator = gansweep.load_generator("{name}")  # needs torch, safetensors and gansweep
images = generator(torch.randn(16, {found.latent_dim}){labels}){what}
print(images.shape)  # {shape}, in [-1, 1]
```

`model.safetensors` holds the weights, `config.json` what they are loaded into, `metrics.json` the metrics below."""


def _data(document: Mapping[str, Any]) -> str:
    if not document:
        return ""
    data, name = document["data"], document["config"]["dataset"]["name"].replace("_", " ")
    return f"## Data\n\n{counted(data['images'], 'image')} of {name}, fingerprint `{data['fingerprint']}`."


def _verdicts(provenance: Provenance) -> str:
    lines = [f"- **{title(one.kind)}** ({KINDS[one.kind].meaning}): {one.reason}" for one in provenance.verdicts]
    words = "Verdicts of gansweep on the whole run, from measurements of samples and of the discriminator:"
    return "\n\n".join(["## Verdicts", words, "\n".join(lines)]) if lines else ""


def _metrics(provenance: Provenance) -> str:
    if not provenance.metrics:
        return ""
    rows = [f"| `{k}` | {measured(v)} | {_explained(k)} |" for k, v in provenance.metrics.items()]
    words = (
        f"Measured at step {provenance.measured_at:,}, against images that the embedding has not seen. The embedding is"
        " a small classifier of the same data, or principal components: the distances are not FID."
    )
    return "\n".join(["## Metrics", "", words, "", "| metric | value | meaning |", "| --- | --- | --- |", *rows])


def _explained(metric: str) -> str:
    """Return the explanation of a metric, or of its family for a name such as `class_share/3`; "" if there is none."""
    family, slash, _ = metric.partition("/")
    return EXPLAINED.get(family + slash, "")


def _settings(found: Restored, provenance: Provenance) -> str:
    settings = flat(provenance.document.get("config") or found.settings)
    rows = [f"| `{key}` | {number(value)} |" for key, value in settings.items() if key not in PRIVATE]
    return "\n".join(["## Settings", "", "| setting | value |", "| --- | --- |", *rows])
