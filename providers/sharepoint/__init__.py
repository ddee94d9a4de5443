"""SharePoint and OneDrive, by Microsoft Graph."""

from __future__ import annotations

from providers.sharepoint.provider import SharePointProvider

__all__ = ["SharePointProvider"]
