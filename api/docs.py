"""The page at `/docs`: Swagger UI over our own `/openapi.json`, with nothing fetched from anywhere else.

The viewer's files come from the package `flask-swagger-ui`, which follows its releases; Flask itself is
neither imported nor used.
"""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from aiohttp import web

__all__ = ["add_docs"]

_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
# Styles stand inside the viewer's elements, icons inside its style sheet.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The addresses do not change with the version.
    "Cache-Control": "no-cache",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidemark: HTTP API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="viewer"></div>
<noscript>This page needs scripts. The document itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# Without `validatorUrl: null` the viewer would send the document to a validator on the internet.
_START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#viewer", deepLinking: true, docExpansion: "list", filter: true,
  validatorUrl: null, persistAuthorization: false, tryItOutEnabled: false
});
"""


def add_docs(app: web.Application) -> None:
    """Serve the page and what it consists of."""
    folder = Path(str(distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist")))

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html", headers=_HEADERS)

    async def start(_request: web.Request) -> web.Response:
        return web.Response(text=_START, content_type="text/javascript", headers=_HEADERS)

    async def file(request: web.Request) -> web.FileResponse:
        name = request.match_info["name"]
        return web.FileResponse(folder / name, headers={**_HEADERS, "Content-Type": _FILES[name]})

    app.router.add_get("/docs", page)
    app.router.add_get("/docs/start.js", start)
    for name in _FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"the viewer of /docs is not complete: {folder / name}")
    app.router.add_get(f"/docs/{{name:{'|'.join(_FILES)}}}", file)
