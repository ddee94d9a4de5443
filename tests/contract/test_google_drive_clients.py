"""The simulator serves Google's own client and Google's own sign-in, not only ours.

rclone cannot be used for this: its Drive backend takes a token address but no address of the API.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import google_auth_httplib2
import httplib2  # type: ignore[import-untyped]
import pytest
from google.auth.exceptions import RefreshError
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload

from providers.google_drive.auth import SCOPE
from tests.simulators.google_drive import DriveSimulator


@pytest.fixture
def drive() -> Iterator[DriveSimulator]:
    with DriveSimulator.running() as simulator:
        for i in range(5):
            simulator.tree.put(f"a/f{i}", b"x" * 3000)
        simulator.tree.native("document", "a/doc", {"application/pdf": b"%PDF"})
        yield simulator


@contextmanager
def official(drive: DriveSimulator, credentials: Any) -> Iterator[Any]:
    http = google_auth_httplib2.AuthorizedHttp(credentials, http=httplib2.Http(timeout=10))
    options = {"api_endpoint": f"{drive.url}/drive/v3/"}
    with closing(http):
        yield build("drive", "v3", http=http, client_options=options, cache_discovery=False)


def robot(drive: DriveSimulator, **more: Any) -> Any:
    info = {**drive.service_account(), "token_uri": drive.token_uri}
    return service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
        info, scopes=[SCOPE], **more
    )


def test_googles_client_lists_downloads_exports_and_follows(drive: DriveSimulator) -> None:
    with official(drive, robot(drive, subject="me@example.com")) as service:
        _use(drive, service)


def _use(drive: DriveSimulator, service: Any) -> None:
    token = service.changes().getStartPageToken().execute()["startPageToken"]
    folder = drive.tree.folder("a")
    found, page = [], None
    while True:
        answer = service.files().list(q=f"'{folder}' in parents", pageSize=2, pageToken=page).execute()
        found += answer["files"]
        page = answer.get("nextPageToken")
        if page is None:
            break
    assert sorted(file["name"] for file in found) == ["doc", "f0", "f1", "f2", "f3", "f4"]
    first = next(file for file in found if file["name"] == "f0")
    body = io.BytesIO()
    download = MediaIoBaseDownload(body, service.files().get_media(fileId=first["id"]), chunksize=1024)
    done = False
    while not done:
        _, done = download.next_chunk()
    assert body.getvalue() == b"x" * 3000
    doc = next(file for file in found if file["name"] == "doc")
    assert service.files().export(fileId=doc["id"], mimeType="application/pdf").execute() == b"%PDF"
    drive.tree.trash(first["id"])
    changed = service.changes().list(pageToken=token).execute()
    assert [one["fileId"] for one in changed["changes"]] == [first["id"]] and changed["newStartPageToken"]
    with pytest.raises(HttpError) as caught:
        service.files().get(fileId="nothing").execute()
    assert caught.value.status_code == 404 and "File not found" in caught.value.reason


def test_googles_sign_in_by_refresh_token_and_its_refusal(drive: DriveSimulator) -> None:
    def user(refresh_token: str) -> Any:
        return Credentials(  # type: ignore[no-untyped-call]
            None, refresh_token=refresh_token, token_uri=drive.token_uri, client_id="client", client_secret="secret"
        )

    with official(drive, user("refresh-1")) as service:
        assert service.about().get(fields="user").execute()["user"]["emailAddress"] == "me@example.com"
    with official(drive, user("other")) as service, pytest.raises(RefreshError, match="invalid_grant"):
        service.about().get(fields="user").execute()
