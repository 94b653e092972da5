"""YAML text becomes a validated `Sweep`, or a list of problems, each with its file, line and column."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gansweep.errors import SweepFileError, UserError
from gansweep.health.metrics import EVALUATION, HELD_OUT
from gansweep.plan.conflicts import conflicts
from gansweep.plan.document import Document, Path_, dotted, parse, read
from gansweep.plan.messages import hint, message_of
from gansweep.plan.schema import Sweep, TrialConfig
from gansweep.plan.search import CasesSearch, Distribution, OptunaSearch, varied_keys
from gansweep.plan.thresholds import Thresholds
from gansweep.plan.trials import alike, assign, configurations, corners, count, stand_ins

MAX_TRIALS = 10_000
THRESHOLDS_FILE = "thresholds file"
VARIABLE = ("dataset", "model", "training")  # the sections whose keys a search may vary
LENGTHS = ("training.steps", "training.epochs")  # more steps continue a trial


def load(path: Path, overrides: tuple[str, ...] = (), max_trials: int = MAX_TRIALS) -> Sweep:
    """Read, override, validate. Raises SweepFileError with every problem found, or UserError."""
    return sweep_of(read(path), str(path), overrides, max_trials)


def sweep_of(text: str, name: str, overrides: tuple[str, ...] = (), max_trials: int = MAX_TRIALS) -> Sweep:
    """The same for the text of a file, which messages call by name."""
    document = parse(text, name)
    for override in overrides:
        _override(document, override)
    sweep = _validate(document, overrides)
    if (n := count(sweep)) > max_trials:
        raise SweepFileError([document.problem(("search",), f"{n:,} trials; allow so many with --max-trials {n}")])
    problems = _combination_problems(document, sweep) or _repeated_cases(document, sweep)
    problems += _objective_problems(document, sweep)
    if problems:
        raise SweepFileError(sorted(problems, key=_line_order))
    return sweep


def thresholds_of(text: str, name: str) -> Thresholds:
    """Validate the text of a file with the content of the section `thresholds`. Raises SweepFileError."""
    document = parse(text, name, THRESHOLDS_FILE)
    try:
        return Thresholds.model_validate(document.data)
    except ValidationError as error:
        problems = [_describe(document, e, Thresholds) for e in error.errors()]
        raise SweepFileError(sorted(problems, key=_line_order)) from None


def known_keys(model: type[BaseModel] = Sweep, prefix: str = "") -> list[str]:
    """Every dotted key of the schema, sections included."""
    keys = []
    for name, info in model.model_fields.items():
        keys.append(prefix + name)
        for part in _sections(info.annotation):
            keys += known_keys(part, f"{prefix}{name}.")
    return list(dict.fromkeys(keys))


def _override(document: Document, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set {override}: write it as key=value, as in --set training.steps=1200")
    value = parse(f"value: {text}", f"--set {key}").data["value"]
    # Below search.over the rest of a dotted key is one key: search.over.training.beta1
    head, over, rest = key.partition("search.over.")
    path: tuple[str, ...] = ("search", "over", rest) if over and not head else tuple(key.split("."))
    target = document.data
    for part in path[:-1]:
        if not isinstance(target.get(part), dict):
            target[part] = {}
        target = target[part]
    target[path[-1]] = value
    for marks in (document.values, document.keys):
        for old in [p for p in marks if p[: len(path)] == path]:
            del marks[old]
        marks[path] = f"--set {key}"


def _validate(document: Document, overrides: Sequence[str]) -> Sweep:
    problems: list[str] = []
    sweep: Sweep | None = None
    try:
        sweep = Sweep.model_validate(document.data)
    except ValidationError as error:
        problems += [_describe(document, e) for e in error.errors()]
    problems += _search_problems(document)
    problems += _without_effect(document, overrides)
    if problems or sweep is None:
        raise SweepFileError(sorted(dict.fromkeys(problems), key=_line_order))
    return sweep


def _line_order(problem: str) -> tuple[int, int]:
    parts = problem.split(":", 3)
    return (int(parts[1]), int(parts[2])) if parts[1].isdigit() and parts[2].isdigit() else (0, 0)


def _real_path(data: Any, loc: Path_) -> Path_:
    """Pydantic's location without what stands in no file: the search method after `search`."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        if i == 1 and path == ["search"]:
            continue
        if isinstance(data, dict):
            data = data.get(str(part))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif i < len(loc) - 1:
            continue
        path.append(part)
    return tuple(path)


def _describe(document: Document, error: ErrorDetails, model: type[BaseModel] = Sweep) -> str:
    """Return the line for one error. model: what the document was validated as."""
    path = _real_path(document.data, error["loc"])
    if error["type"] == "extra_forbidden":
        return document.problem(
            path,
            "unknown key" + hint(dotted(path), _fields_at(error["loc"][:-1], model), known_keys(model)),
            key=True,
        )
    return document.problem(path, message_of(error))


def _fields_at(loc: Path_, model: type[BaseModel]) -> list[str]:
    """Return the names of the fields of the section at pydantic's location.

    There are none below a list or a mapping of the user's keys.
    """
    sections: list[type[BaseModel]] = [model]
    for i, part in enumerate(loc):
        if i == 1 and loc[0] == "search":
            sections = [s for s in sections if part in typing.get_args(s.model_fields["method"].annotation)]
        else:
            fields = [f for s in sections for name, f in s.model_fields.items() if name == part]
            sections = [s for f in fields for s in _sections(f.annotation)]
    return [name for s in sections for name in s.model_fields]


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The schema classes that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [s for a in typing.get_args(annotation) for s in _sections(a)]
    return []


def _leaf_keys() -> list[str]:
    keys = [k for k in known_keys(TrialConfig) if k.split(".")[0] in VARIABLE]
    return [k for k in keys if not any(other.startswith(f"{k}.") for other in keys)]


def _search_problems(document: Document) -> list[str]:
    """Keys that cannot be varied, and single values that their key does not take."""
    search = document.data.get("search")
    if not isinstance(search, dict):
        return []
    problems, leaves = [], _leaf_keys()
    base = {k: document.data[k] for k in VARIABLE if isinstance(document.data.get(k), dict)}
    for path, candidates in _varied(search):
        key = str(path[-1])
        if key in LENGTHS:
            problems.append(document.problem(path, "length makes no other trial: raise it and run again", key=True))
            continue
        if key not in leaves:
            problems.append(document.problem(path, _unvariable(key, leaves), key=True))
            continue
        seen: dict[str, Path_] = {}
        for at, value in candidates:
            found = _messages(assign(base, key, value))
            problems += [document.problem(at, message) for loc, message in found.items() if loc == key]
            normal = _normal(base, key, value)
            if search.get("method") == "grid" and normal in seen:
                problems.append(document.problem(at, f"repeats {dotted(seen[normal])}; give each value once"))
            seen.setdefault(normal, at)
    return problems


def _normal(base: dict[str, Any], key: str, value: Any) -> str:
    """A text that is the same for values that mean the same: 0 and 0.0 of a number, 3 and ["3"] of classes."""
    try:
        found: Any = TrialConfig.model_validate(assign(base, key, value))
    except ValidationError:
        return repr(value)
    for part in key.split("."):
        found = getattr(found, part)
    return repr(found + 0.0 if isinstance(found, float) else found)  # -0.0 is 0.0


def _without_effect(document: Document, overrides: Sequence[str]) -> list[str]:
    """Overrides of keys that the search varies: the values of the search would win, and nothing say so."""
    search = document.data.get("search")
    if not isinstance(search, dict):
        return []
    varied = {str(path[-1]): path for path, _ in _varied(search)}
    problems = []
    for name in dict.fromkeys(override.partition("=")[0] for override in overrides):
        for key in varied:
            if key == name or (key.startswith(f"{name}.") and _holds(document.data, key)):
                place = dotted(varied[key][:2])
                problems.append(
                    f"--set {name}: {key if key != name else 'it'} is varied by {place}, whose values would win;"
                    f" change those{_change_of(key, search)}, or take the search out with --set search=null"
                )
                break
    return problems


def _holds(data: Any, key: str) -> bool:
    """Whether nested data give a dotted key."""
    for part in key.split("."):
        if not isinstance(data, dict) or part not in data:
            return False
        data = data[part]
    return True


def _change_of(key: str, search: Mapping[str, Any]) -> str:
    """How an override changes the values of an axis; of a list of cases it would be the whole list."""
    if "over" not in search:
        return " in the file"
    values = "[…]" if search.get("method") == "grid" else "{choice: […]}"
    return f" with --set 'search.over.{key}={values}'"


def _unvariable(key: str, leaves: list[str]) -> str:
    if inner := [leaf for leaf in leaves if leaf.startswith(f"{key}.") and leaf not in LENGTHS]:
        return f"is a section; name one of its keys, as in {inner[0]}"
    if key.rpartition(".")[2] in ("seed", "seeds"):
        return "seeds are no setting to search: set replicates, the number of seeds of each configuration"
    what = "only keys of dataset, model and training can be varied" if key in known_keys() else "no such key"
    return what + hint(key, leaves if "." in key else [], leaves)


def _varied(search: dict[str, Any]) -> Iterator[tuple[Path_, list[tuple[Path_, Any]]]]:
    """Each place that varies a key, its last part, with values that a search certainly takes and where they stand."""
    if isinstance(over := search.get("over"), dict):
        for key, axis in over.items():
            yield ("search", "over", key), _candidates(axis, ("search", "over", key))
    if isinstance(cases := search.get("cases"), list):
        for number, case in enumerate(cases):
            for key, value in case.items() if isinstance(case, dict) else ():
                yield (path := ("search", "cases", number, key)), [(path, value)]


def _candidates(axis: Any, path: Path_) -> list[tuple[Path_, Any]]:
    """A grid's values, a choice's, the two ends of a range."""
    if isinstance(axis, list):
        return [((*path, i), v) for i, v in enumerate(axis)]
    if isinstance(axis, dict):
        kinds = [k for k in Distribution.model_fields if isinstance(axis.get(k), list)]
        return [((*path, k, i), v) for k in kinds for i, v in enumerate(axis[k])]
    return []


def _messages(config: dict[str, Any]) -> dict[str, str]:
    """Dotted key → message, for one configuration."""
    try:
        TrialConfig.model_validate(config)
    except ValidationError as error:
        return {dotted(_real_path(config, e["loc"])): message_of(e) for e in error.errors()}
    return {}


def _combination_problems(document: Document, sweep: Sweep) -> list[str]:
    """What is wrong only in combination: of every case, or of the first other configuration that fails."""
    search = sweep.search
    possible = [*corners(search), *stand_ins(search)] if isinstance(search, OptunaSearch) else []
    metric = sweep.objective.metric if sweep.needs_objective else None
    own = _faults(sweep.model_dump(include={"dataset", "model", "training", "evaluation"}), metric)
    problems: list[str] = []
    for number, (config, varied) in enumerate(configurations(sweep, possible)):
        given = search.cases[number] if isinstance(search, CasesSearch) else varied
        for key, message in _faults(config, metric).items():
            if key.startswith("search.") or (key not in given and own.get(key) == message):  # nothing here is to blame
                problems.append(document.problem(tuple(key.split(".")), message))
            elif isinstance(search, CasesSearch):
                case: Path_ = ("search", "cases", number)
                at, what = ((*case, key), message) if key in given else (case, f"{key}: {message}")
                problems.append(document.problem(at, what))
            else:
                values = ", ".join(f"{k}={v}" for k, v in given.items())
                problems.append(document.problem(("search",), f"with {values}: {key}: {message}"))
        if problems and not isinstance(search, CasesSearch):
            break
    return list(dict.fromkeys(problems))


def _faults(config: dict[str, Any], metric: str | None) -> dict[str, str]:
    """Dotted key → message: what no section takes, else what does not go together."""
    if found := _messages(config):
        return found
    return {dotted(path): message for path, message in conflicts(TrialConfig.model_validate(config), metric)}


def _repeated_cases(document: Document, sweep: Sweep) -> list[str]:
    """Those with the settings of one before, whether a case says them or the file does. All must be valid."""
    if not isinstance(sweep.search, CasesSearch):
        return []
    problems: list[str] = []
    first: dict[str, int] = {}  # settings → case
    for number, (config, _) in enumerate(configurations(sweep)):
        before = first.setdefault(alike(TrialConfig.model_validate(config)), number)
        if before < number:
            problems.append(document.problem(("search", "cases", number), f"repeats search.cases[{before}]"))
    return problems


def _objective_problems(document: Document, sweep: Sweep) -> list[str]:
    """An objective that no run of the sweep would record, as far as the file alone says it."""
    if sweep.search is None or not sweep.needs_objective:
        return []
    metric, path = sweep.objective.metric, ("search", "objective", "metric")
    if metric in EVALUATION and not sweep.evaluation.per_run:
        return [document.problem(path, f"no run records {metric} while evaluation.per_run is 0")]
    if metric in HELD_OUT and not sweep.dataset.validation and "dataset.validation" not in varied_keys(sweep.search):
        return [document.problem(path, f"no run records {metric} without held-out images: set dataset.validation")]
    return []
