"""Google Drive: My Drive, shared drives and shared folders. `docs/google_drive.md` says how to use it."""

from __future__ import annotations

from providers.google_drive.provider import GoogleDriveProvider

__all__ = ["GoogleDriveProvider"]
