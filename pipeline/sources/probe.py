"""Whether an object store answers: one cheap request that ends soon, before Beam's clients, which
repeat a request for minutes.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from typing import Any

from features.errors import FunnelError

SECONDS = 8.0  # until no answer is an error
CONNECT, READ = 3, 4  # seconds, of the request itself
MODULES = {  # whose import is not the store's delay
    "s3": ("boto3", "apache_beam.options.pipeline_options"),
    "gs": ("apache_beam.io.gcp.gcsio",),
}


def check_answers(key: str, pattern: str) -> None:
    """Raises FunnelError where the store of an s3:// or gs:// pattern does not answer within
    SECONDS, or refuses to list the bucket.

    Args:
        key: the configuration key that an error names.
        pattern: a glob.
    """
    scheme, _, path = pattern.partition("://")
    if scheme not in PROBES:
        return
    for name in ("apache_beam", "google.auth", "google.cloud", "botocore"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")  # seconds of the search for credentials
    for name in MODULES[scheme]:
        import_module(name)
    list_one, describe = PROBES[scheme]
    bucket, _, inside = path.partition("/")
    fixed = inside[: next((at for at, c in enumerate(inside) if c in "*?["), len(inside))]
    try:
        _within(SECONDS, lambda: list_one(bucket, fixed))
    except TimeoutError:
        why = describe(TimeoutError(f"no answer within {SECONDS:.0f} s"), bucket)
    except Exception as error:
        why = describe(error, bucket)
    else:
        return
    raise FunnelError(f"{key} = '{pattern}': cannot be listed ({' '.join(why.split())})")


def _within(seconds: float, call: Callable[[], object]) -> None:
    """Calls in a thread of its own, since looking up a host's name has no time limit."""
    done: Future[None] = Future()

    def work() -> None:
        try:
            call()
            done.set_result(None)
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    done.result(seconds)


def _options() -> Any:
    """Beam's options, as its filesystems have them."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    return FileSystems._pipeline_options or PipelineOptions([])


def _list_s3(bucket: str, prefix: str) -> None:
    import boto3
    from apache_beam.options.pipeline_options import S3Options
    from botocore.config import Config

    given = _options().view_as(S3Options)
    client = boto3.session.Session().client(
        "s3",
        region_name=given.s3_region_name,
        api_version=given.s3_api_version,
        use_ssl=not given.s3_disable_ssl,
        verify=given.s3_verify,
        endpoint_url=given.s3_endpoint_url,
        aws_access_key_id=given.s3_access_key_id,
        aws_secret_access_key=given.s3_secret_access_key,
        aws_session_token=given.s3_session_token,
        config=Config(
            connect_timeout=CONNECT, read_timeout=READ, retries={"total_max_attempts": 1}
        ),
    )
    client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)


def _describe_s3(error: Exception, bucket: str) -> str:
    from botocore.exceptions import (
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
    )

    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return (
            f"{error}; give credentials by AWS_PROFILE, or by AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, ClientError):
        return _refused(error.response.get("Error", {}).get("Code", ""), error, bucket)
    return (
        f"{error}; check the network and the endpoint (AWS_ENDPOINT_URL, or --s3_endpoint_url "
        "after --)"
    )


def _list_gs(bucket: str, prefix: str) -> None:
    from apache_beam.io.gcp.gcsio import create_storage_client

    client = create_storage_client(_options())
    found = client.list_blobs(
        bucket, prefix=prefix, max_results=1, timeout=(CONNECT, READ), retry=None
    )
    next(iter(found), None)


def _describe_gs(error: Exception, bucket: str) -> str:
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return _refused({404: "NoSuchBucket"}.get(code, str(code)), error, bucket)
    return (
        f"{error}; check the network and the credentials (GOOGLE_APPLICATION_CREDENTIALS), or "
        "STORAGE_EMULATOR_HOST"
    )


def _refused(code: str, error: Exception, bucket: str) -> str:
    if code == "NoSuchBucket":
        return f"there is no bucket '{bucket}'; name another one"
    return f"{error}; give credentials that may list the bucket '{bucket}'"


# By scheme: the request, and what its error means.
PROBES: dict[str, tuple[Callable[[str, str], None], Callable[[Exception, str], str]]] = {
    "s3": (_list_s3, _describe_s3),
    "gs": (_list_gs, _describe_gs),
}
