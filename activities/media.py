"""What kind of content a file is: MIME type by extension, and the contract's blob type by MIME type.

A table of our own, so that the answer does not depend on the machine or the Python version. Media
types are those of the IANA registry; where it has none, the one in common use.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

__all__ = ["UNKNOWN", "BlobType", "blob_type_of", "mime_type_of", "specific"]

BlobType = Literal["image", "video", "audio", "text", "pdf", "excel"]

UNKNOWN = "application/octet-stream"

# What servers and clients say when nobody told them: no better than nothing.
_UNSPECIFIC = frozenset({"", UNKNOWN, "binary/octet-stream", "application/x-www-form-urlencoded"})

_OFFICE = "application/vnd.openxmlformats-officedocument"

_TYPES = {
    # images
    "image/jpeg": "jpg jpeg jpe jfif", "image/png": "png apng", "image/gif": "gif", "image/webp": "webp",
    "image/avif": "avif", "image/heic": "heic", "image/heif": "heif", "image/bmp": "bmp dib", "image/tiff": "tif tiff",
    "image/svg+xml": "svg", "image/vnd.microsoft.icon": "ico", "image/vnd.adobe.photoshop": "psd", "image/jxl": "jxl",
    "image/jp2": "jp2", "image/x-adobe-dng": "dng", "image/x-canon-cr2": "cr2", "image/x-nikon-nef": "nef",
    # video
    "video/mp4": "mp4 m4v mpg4", "video/quicktime": "mov qt", "video/webm": "webm", "video/matroska": "mkv",
    "video/x-msvideo": "avi", "video/x-ms-wmv": "wmv", "video/x-flv": "flv", "video/mpeg": "mpg mpeg mpe m2v",
    "video/3gpp": "3gp", "video/ogg": "ogv", "video/mp2t": "m2ts mts", "application/mxf": "mxf",
    # audio
    "audio/mpeg": "mp3", "audio/wav": "wav", "audio/mp4": "m4a", "audio/aac": "aac", "audio/flac": "flac",
    "audio/ogg": "ogg oga opus", "audio/aiff": "aif aiff", "audio/x-ms-wma": "wma", "audio/midi": "mid midi",
    "audio/amr": "amr", "audio/webm": "weba",
    # documents
    "application/pdf": "pdf",
    "application/vnd.ms-excel": "xls xlt", f"{_OFFICE}.spreadsheetml.sheet": "xlsx",
    "application/vnd.ms-excel.sheet.macroenabled.12": "xlsm",
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": "xlsb",
    f"{_OFFICE}.spreadsheetml.template": "xltx", "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/msword": "doc dot", f"{_OFFICE}.wordprocessingml.document": "docx",
    "application/vnd.ms-word.document.macroenabled.12": "docm", "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.ms-powerpoint": "ppt pps", f"{_OFFICE}.presentationml.presentation": "pptx",
    f"{_OFFICE}.presentationml.slideshow": "ppsx", "application/vnd.oasis.opendocument.presentation": "odp",
    "application/rtf": "rtf", "application/epub+zip": "epub", "application/postscript": "ps eps ai",
    "application/vnd.ms-outlook": "msg", "message/rfc822": "eml mht mhtml",
    # text and code
    "text/plain": "txt text log ini cfg conf env rst me nfo", "text/markdown": "md markdown", "text/csv": "csv",
    "text/tab-separated-values": "tsv", "text/html": "html htm", "text/css": "css", "text/xml": "xml xsl xsd",
    "text/calendar": "ics", "text/vcard": "vcf", "text/vtt": "vtt", "application/x-subrip": "srt",
    "text/x-python": "py pyi pyw", "text/javascript": "js mjs cjs", "text/x-typescript": "tsx",
    "text/x-c": "c h", "text/x-c++": "cc cpp cxx hh hpp", "text/x-java-source": "java", "text/x-go": "go",
    "text/x-rust": "rs", "text/x-ruby": "rb", "text/x-php": "php", "text/x-shellscript": "sh bash zsh",
    "text/x-diff": "diff patch", "text/x-tex": "tex", "application/sql": "sql",
    "application/json": "json", "application/geo+json": "geojson", "application/ld+json": "jsonld",
    "application/x-ndjson": "ndjson jsonl", "application/yaml": "yaml yml", "application/toml": "toml",
    "application/x-ipynb+json": "ipynb", "application/xhtml+xml": "xhtml",
    # data, archives, programs
    "application/vnd.apache.parquet": "parquet", "application/vnd.apache.arrow.file": "arrow feather",
    "application/vnd.apache.avro": "avro", "application/vnd.sqlite3": "sqlite sqlite3", "application/x-hdf5": "h5 hdf5",
    "application/zip": "zip", "application/gzip": "gz tgz", "application/x-tar": "tar", "application/x-bzip2": "bz2",
    "application/x-xz": "xz", "application/zstd": "zst", "application/x-7z-compressed": "7z",
    "application/vnd.rar": "rar", "application/java-archive": "jar", "application/wasm": "wasm",
    "application/x-pickle": "pkl pickle", "font/ttf": "ttf", "font/otf": "otf", "font/woff": "woff",
    "font/woff2": "woff2", "model/gltf-binary": "glb", "model/gltf+json": "gltf", "model/stl": "stl",
}  # fmt: skip

_BY_EXTENSION = {extension: mime for mime, extensions in _TYPES.items() for extension in extensions.split()}

_EXCEL = frozenset(
    mime for mime in _TYPES if mime.startswith("application/vnd.ms-excel") or "spreadsheet" in mime
) | {"application/vnd.google-apps.spreadsheet"}  # fmt: skip
_VIDEO = frozenset({"application/mxf", "application/vnd.apple.mpegurl"})
# Formats whose content is read as text though their type does not begin with `text/`.
_TEXT_ENDINGS = ("+json", "+xml", "/json", "/xml", "/yaml", "/x-yaml", "/toml", "/sql", "/x-ndjson", "/javascript")


def specific(mime_type: str | None) -> str | None:
    """The type without parameters, lower case; None when it says nothing."""
    if mime_type is None:
        return None
    bare = mime_type.partition(";")[0].strip().lower()
    return None if bare in _UNSPECIFIC or "/" not in bare else bare


@lru_cache(maxsize=4096)
def _by_extension(extension: str) -> str:
    return _BY_EXTENSION.get(extension.lower(), UNKNOWN)


def mime_type_of(name: str, stated: str | None = None) -> str:
    """What the provider states, if that is specific, else by extension, else `application/octet-stream`."""
    if stated is not None and (said := specific(stated)) is not None:
        return said
    _, dot, extension = name.rpartition(".")
    return _by_extension(extension) if dot and len(extension) <= 16 else UNKNOWN


@lru_cache(maxsize=4096)
def blob_type_of(mime_type: str) -> BlobType | None:
    """The contract's blob type, or None when none of them says it."""
    mime = mime_type.partition(";")[0].strip().lower()
    family = mime.partition("/")[0]
    if family == "image":
        return "image"
    if family == "video" or mime in _VIDEO:
        return "video"
    if family == "audio":
        return "audio"
    if mime == "application/pdf":
        return "pdf"
    if mime in _EXCEL:
        return "excel"
    if family in ("text", "message") or mime.endswith(_TEXT_ENDINGS):
        return "text"
    return None
