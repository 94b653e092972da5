"""Access to a run's artifacts in a folder, behind a server, or in a cloud."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gansweep.tracking import places

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

PATIENCE_S = 120  # for a reply; other clients may be waiting as well


@lru_cache(4096)
def repository(uri: str, artifact_uri: str) -> ArtifactRepository:
    """Return the repository of a run's artifacts. It is found even if the home was moved.

    Args:
        uri: URI of the tracking store.
        artifact_uri: URI of the artifacts as recorded in the store.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(places.resolve(uri, artifact_uri), tracking_uri=uri)


def folder_of(where: ArtifactRepository) -> Path | None:
    """Return the folder of the artifacts; None if they are not on this machine."""
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    return Path(where.artifact_dir) if isinstance(where, LocalArtifactRepository) else None


def content(where: ArtifactRepository, path: str) -> bytes | None:
    """Return the content of a file; None if it does not exist. Raises the errors of MLflow."""
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    if folder := folder_of(where):  # MLflow would copy the file
        file = folder / path
        return file.read_bytes() if file.is_file() else None
    fetch = partial(_of_server if isinstance(where, HttpArtifactRepository) else _downloaded, where, path)
    try:
        return fetch()
    except Exception:  # error types differ between repositories; the list shows whether the file exists
        parent = str(PurePosixPath(path).parent)
        if path not in [file.path for file in where.list_artifacts("" if parent == "." else parent)]:
            return None
    return fetch()  # it was created in the meantime, or the error is raised again


def _of_server(where: HttpArtifactRepository, path: str) -> bytes:
    """Return the content of a file, downloaded in one request over a persistent connection.

    MLflow's own download takes two requests and writes a file.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.request_utils import augmented_raise_for_status
    from mlflow.utils.rest_utils import http_request

    response = http_request(get_default_host_creds(where.artifact_uri), f"/{path}", "GET", timeout=PATIENCE_S)
    augmented_raise_for_status(response)
    return bytes(response.content)


def _downloaded(where: ArtifactRepository, path: str) -> bytes:
    with TemporaryDirectory(prefix="gansweep-") as scratch:
        return Path(where.download_artifacts(path, scratch)).read_bytes()
