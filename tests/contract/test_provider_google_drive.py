"""The Google Drive provider passes the provider suite, in My Drive, a shared drive and a folder shared alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.google_drive_rig import DriveSource
from tests.contract.provider_suite import ProviderContract, Source
from tests.simulators.google_drive import DriveSimulator


class TestGoogleDrive(ProviderContract):
    @pytest.fixture(params=["my_drive", "shared_drive", "shared_folder", "drive_root"])
    def source(self, request: Any) -> Iterator[Source]:
        with DriveSimulator.running() as drive:
            tree = drive.tree
            if request.param == "my_drive":
                config = {"impersonate_user": "me@example.com"}
                yield DriveSource(drive, tree.root_of("me@example.com"), config=config, path="/root")
            elif request.param == "shared_folder":
                source = DriveSource(drive, tree.root_of("me@example.com"), config={}, path="")
                tree.share(source.root, drive.robot)
                source.path = source.root
                yield source
            else:
                shared = tree.add_drive("Team", {drive.robot})
                source = DriveSource(drive, shared, config={"shared_drive_id": shared}, path="root")
                if request.param == "drive_root":
                    tree.trash(source.root)
                    tree.trash(tree.folder("other", shared))
                    source.root, source.path = shared, "/"
                yield source
