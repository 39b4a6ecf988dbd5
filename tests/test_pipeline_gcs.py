"""Logs on gs://, against an emulator on this machine: found by globs and read by the job."""

from __future__ import annotations

import json
import socket

import google.auth
import pytest
from apache_beam.io.filesystems import FileSystems
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from log_files import T0
from pipeline_logs import make_config, read_examples

from features.errors import FunnelError
from pipeline.job import preprocess
from pipeline.sources.files import find, find_sources
from pipeline.sources.storage import connect

ROWS = [{"id": str(i), "ts": T0 + i, "user": "u", "tags": ["a"], "price": i / 2} for i in range(9)]
LOGS = {
    "impressions/day-1.jsonl": ROWS[:5],
    "impressions/day-2.jsonl": ROWS[5:],
    "clicks/all.jsonl": [{"id": "2", "ts": T0 + 5}],
    "conversions/all.jsonl": [{"id": "nobody", "ts": T0 + 8 + 88_200}],
}


@pytest.fixture(scope="module")
def emulator():
    """The address of an emulator that holds LOGS in the bucket `logs`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="logs")
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        # Without credentials Beam would ask Google's servers, with pauses in between.
        patch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), "project"))
        bucket = storage.Client.create_anonymous_client().bucket("logs")
        for name, rows in LOGS.items():
            bucket.blob(name).upload_from_string("".join(json.dumps(row) + "\n" for row in rows))
        yield
    server.stop()
    FileSystems.set_options(None)  # Beam forgets the emulator


def gcs_config(folder):
    streams = ("impressions", "clicks", "conversions")
    logs = {name: {"files": f"gs://logs/{name}/*", "id": "id", "time": "ts"} for name in streams}
    return make_config(folder, logs=logs)


def test_logs_are_found(tmp_path, emulator):
    connect()
    sources = find_sources(gcs_config(tmp_path))
    assert [s.path for s in sources if s.stream == "impressions"] == [
        "gs://logs/impressions/day-1.jsonl",
        "gs://logs/impressions/day-2.jsonl",
    ]
    assert all(s.size > 0 and s.updated for s in sources)


def test_what_is_not_there(tmp_path, emulator):
    connect()
    with pytest.raises(FunnelError, match=r"files = 'gs://logs/nothing/\*': no file matches$"):
        find("files", "s", gcs_config(tmp_path).logs["clicks"], "gs://logs/nothing/*")


def test_the_whole_job(tmp_path, emulator):
    manifest = preprocess(gcs_config(tmp_path), tmp_path / "data")
    assert manifest["rows"]["examples_written"] == len(ROWS)
    examples = read_examples(tmp_path / "data")
    assert {name for name, row in examples.items() if row["click"] == 1} == {"2"}
