"""An S3 server on this machine (localbucket), which can be told to be unwell."""

import os
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localbucket import S3Error, S3Handler


class BucketServer:
    """Buckets in a folder, served as S3.

    Attributes:
        folder: Buckets, one a folder.
        url: Endpoint.
        n_refusals: How many requests are answered by an error next; -1 for all.
        refusal: That error.
        seen: Requests as they came: method and path with its query; of a range, that too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n_refusals = 0
        self.refusal = (HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown")
        self.seen: list[str] = []
        handler = type("Handler", (_Handler,), {"data_root": folder, "owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client has to know."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "something",
        }

    def __enter__(self) -> "BucketServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def path(self, url: str, name: str) -> Path:
        """File of an object of a store."""
        return self.folder / url.removeprefix("s3://") / name

    def age(self, url: str, name: str, seconds: float) -> None:
        """Makes an object older."""
        path = self.path(url, name)
        moment = path.stat().st_mtime - seconds
        os.utime(path, (moment, moment))

    @contextmanager
    def refusing(self, n_requests: int = -1, status: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE) -> Iterator[None]:
        """Answers so many requests, or all, by an error."""
        self.n_refusals, self.refusal = n_requests, (status, "SlowDown" if status == 503 else "AccessDenied")
        yield
        self.n_refusals = 0


class _Handler(S3Handler):
    owner: BucketServer

    def _dispatch(self, action: Any) -> None:
        owner = self.owner
        owner.seen.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        if owner.n_refusals:
            owner.n_refusals -= owner.n_refusals > 0
            self._read_body()
            self._send_error(S3Error(owner.refusal[0], owner.refusal[1], "unwell"))
            return
        super()._dispatch(action)

    def _post_request(self, bucket: str, key: str) -> None:
        """What localbucket lacks: the removal of several objects by one request."""
        if "delete" not in self.query:
            super()._post_request(bucket, key)
            return
        names = [one.text or "" for one in ET.fromstring(self._read_body()).iter() if one.tag.endswith("Key")]
        root = ET.Element("DeleteResult")
        for name in names:
            (self._bucket_dir(bucket) / name).unlink(missing_ok=True)
            ET.SubElement(ET.SubElement(root, "Deleted"), "Key").text = name
        self._send_xml(root)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def n_matching(server: BucketServer, pattern: str) -> int:
    """How many requests were of a kind."""
    return sum(re.search(pattern, one) is not None for one in server.seen)
