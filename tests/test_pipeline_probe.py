"""Object stores that do not answer, or refuse: an error of one line, soon."""

import http.server
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from apache_beam.io.filesystems import FileSystems

from features.errors import FunnelError
from pipeline.sources import probe
from pipeline.sources.storage import check_client

SECONDS = 10.0


@pytest.fixture(autouse=True)
def without_credentials(monkeypatch, tmp_path):
    """No credentials, no metadata server, and no options of Beam from another test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    FileSystems.set_options(None)


@contextmanager
def answering(code, body=b""):
    """The address of a server that answers every request with one code."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def silent():
    """The address of a server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def refusing():
    """An address at which nobody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


def xml(code):
    return f"<Error><Code>{code}</Code><Message>as it is</Message></Error>".encode()


def error_of(scheme):
    """The error, which comes soon and is one line."""
    started = time.monotonic()
    with pytest.raises(FunnelError) as raised:
        check_client("logs.table.files", f"{scheme}://logs/a/*.csv")
    assert time.monotonic() - started < SECONDS
    assert "\n" not in str(raised.value)
    start = f"logs.table.files = '{scheme}://logs/a/*.csv': cannot be listed ("
    assert str(raised.value).startswith(start)
    return str(raised.value).removeprefix(start)


def with_s3(monkeypatch, address):
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def test_without_credentials_s3_says_so(monkeypatch):
    assert error_of("s3") == (
        "Unable to locate credentials; give credentials by AWS_PROFILE, or by AWS_ACCESS_KEY_ID "
        "and AWS_SECRET_ACCESS_KEY)"
    )


@pytest.mark.parametrize("server", [silent, refusing])
def test_an_s3_server_that_does_not_answer(monkeypatch, server):
    with server() as address:
        with_s3(monkeypatch, address)
        assert "check the network and the endpoint (AWS_ENDPOINT_URL" in error_of("s3")


def test_an_s3_server_that_refuses(monkeypatch):
    with answering(403, xml("AccessDenied")) as address:
        with_s3(monkeypatch, address)
        shown = error_of("s3")
    assert "AccessDenied" in shown
    assert "give credentials that may list the bucket 'logs'" in shown
    assert "secret" not in shown


def test_an_s3_bucket_that_is_not_there(monkeypatch):
    with answering(404, xml("NoSuchBucket")) as address:
        with_s3(monkeypatch, address)
        assert error_of("s3") == "there is no bucket 'logs'; name another one)"


@pytest.mark.parametrize("server", [silent, refusing])
def test_a_gs_server_that_does_not_answer(monkeypatch, server):
    with server() as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        assert "check the network and the credentials" in error_of("gs")


def test_a_gs_server_that_refuses(monkeypatch):
    with answering(403, b'{"error": {"message": "no list access"}}') as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        assert "give credentials that may list the bucket 'logs'" in error_of("gs")
    with answering(404, b'{"error": {"message": "not found"}}') as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        assert error_of("gs") == "there is no bucket 'logs'; name another one)"


def test_a_name_that_takes_forever_to_look_up(monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    monkeypatch.setitem(
        probe.PROBES, "s3", (lambda *_: time.sleep(5), lambda error, bucket: str(error))
    )
    assert error_of("s3") == "no answer within 0 s)"


def test_other_storage_is_not_asked():
    check_client("logs.table.files", "hdfs://logs/a/*.csv")
