"""An S3 server on this machine, for tests of what reads s3://."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

Put = Callable[[str, bytes], None]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of an S3 server that holds everything in memory."""
    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    yield "http://{}:{}".format(*moto.get_host_and_port())
    moto.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Puts bytes under keys of the bucket `logs`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-no-worth")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="logs")
    yield lambda key, data: client.put_object(Bucket="logs", Key=key, Body=data)
    for held in client.list_objects_v2(Bucket="logs").get("Contents", []):
        client.delete_object(Bucket="logs", Key=held["Key"])
    client.delete_bucket(Bucket="logs")


def put_folder(put: Put, folder: Path, prefix: str) -> None:
    """Uploads every file below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())
