from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from object_store import BUCKET, ObjectStore, object_store

from gansweep.sync.storage import Storage, open_storage


@pytest.fixture(scope="session")
def bucket() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Empty."""
    if request.param == "folder":
        return open_storage(str(tmp_path / "storage"))
    store: ObjectStore = request.getfixturevalue("bucket")
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    return open_storage(f"s3://{BUCKET}/{tmp_path.name}")
