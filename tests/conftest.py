"""Fast tests first: those that train come last. An S3 server on this machine, for tests of what
reads s3://.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import pytest

EXIT = pytest.StashKey[int]()
Put = Callable[[str, bytes], object]


def pytest_collection_modifyitems(items):
    items.sort(
        key=lambda item: item.path.stem.startswith(
            ("test_model", "test_funnel_run", "test_examples")
        )
    )


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """tensorflow-io's S3 client aborts a process that ends by itself."""
    if "tensorflow_io" in sys.modules:
        sys.stdout.flush()
        os._exit(config.stash[EXIT])


def pytest_sessionfinish(session, exitstatus):
    session.config.stash[EXIT] = int(exitstatus)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of an S3 server that holds everything in memory."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    yield "http://{}:{}".format(*moto.get_host_and_port())
    moto.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Puts bytes under keys of the bucket `logs`."""
    import boto3

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
