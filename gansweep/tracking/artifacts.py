"""Files among a run's artifacts, wherever these lie: beside the store, behind a server, or with a cloud."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gansweep.tracking import places

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

PATIENCE_S = 120  # for a reply; others may be asked for as well


@lru_cache(4096)
def repository(uri: str, artifact_uri: str) -> ArtifactRepository:
    """Where a run's artifacts are, also in a home that was moved. uri: of the tracking store. artifact_uri: as the
    store has it."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(places.resolve(uri, artifact_uri), tracking_uri=uri)


def folder_of(where: ArtifactRepository) -> Path | None:
    """Return the folder that artifacts lie in; None where they are not on this machine."""
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    return Path(where.artifact_dir) if isinstance(where, LocalArtifactRepository) else None


def content(where: ArtifactRepository, path: str) -> bytes | None:
    """What a file holds; None where there is none by this path. Raises what MLflow raises."""
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    if folder := folder_of(where):  # MLflow would copy it
        file = folder / path
        return file.read_bytes() if file.is_file() else None
    fetch = partial(_of_server if isinstance(where, HttpArtifactRepository) else _downloaded, where, path)
    try:
        return fetch()
    except Exception:  # each kind of repository has its own; the list says what it meant
        parent = str(PurePosixPath(path).parent)
        if path not in [file.path for file in where.list_artifacts("" if parent == "." else parent)]:
            return None
    return fetch()  # it came between the two questions, or raises again


def _of_server(where: HttpArtifactRepository, path: str) -> bytes:
    """In one request, over connections that are kept: MLflow's download takes two, and a file."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.request_utils import augmented_raise_for_status
    from mlflow.utils.rest_utils import http_request

    response = http_request(get_default_host_creds(where.artifact_uri), f"/{path}", "GET", timeout=PATIENCE_S)
    augmented_raise_for_status(response)
    return bytes(response.content)


def _downloaded(where: ArtifactRepository, path: str) -> bytes:
    with TemporaryDirectory(prefix="gansweep-") as scratch:
        return Path(where.download_artifacts(path, scratch)).read_bytes()
