"""The content type of a request's body: the one that the endpoint reads, in UTF-8, uncompressed."""

from __future__ import annotations

import re

from starlette.datastructures import Headers

from authsvc.protocol.errors import CompressedBody, OtherParameter, UnsupportedMediaType

_UTF_8 = re.compile(r'(?:;\s*charset\s*=\s*("?)utf-8\1)?', re.IGNORECASE)


def require_content_type(headers: Headers, media_type: str) -> None:
    """
    Refuse a body of another type, charset or content coding.

    Args:
        media_type: In lower case, without parameters.

    Raises:
        UnsupportedMediaType: None is named, several are, or another one.
        OtherParameter, CompressedBody: The type is right, the rest is not.
    """
    types = headers.getlist("content-type")
    presented, semicolon, parameters = types[0].partition(";") if len(types) == 1 else ("", "", "")
    if presented.strip().lower() != media_type:
        raise UnsupportedMediaType("content type")
    if not _UTF_8.fullmatch(f"{semicolon}{parameters}".strip()):
        raise OtherParameter("content type parameters")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise CompressedBody("content encoding")
