"""Bytes that are not HTTP/1.1, or that two parsers cut in two ways (RFC 9112)."""

from __future__ import annotations

from random import Random

from proof.malformed.attempt import Attempt, World

HOST = b"Host: localhost\r\n"
TYPE = b"Content-Type: application/json\r\n"
LINES = (
    b"GET / HTTP/1.1",
    b"GET  / HTTP/1.1",
    b"GET / HTTP/2.0",
    b"GET / HTTP/1.2",
    b"GET / HTTP/0.9",
    b"GET /",
    b"GET / HTTP/1.1 ",
    b"get / HTTP/1.1",
    b" GET / HTTP/1.1",
    b"GET\t/\tHTTP/1.1",
    b"GET http://evil.example/ HTTP/1.1",
    b"GET http://localhost/auth/me HTTP/1.1",
    b"GET localhost HTTP/1.1",
    b"CONNECT localhost:443 HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"OPTIONS * HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET h\xc3\xa9://localhost/ HTTP/1.1",
    b"GET http://\xff/ HTTP/1.1",
    b"GET /\0 HTTP/1.1",
    b"GET /\xff HTTP/1.1",
    b"GET /#a HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"G" * 70_000,
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
)
LENGTHS = (
    b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    b"Content-Length: 4\r\nContent-Length: 5\r\n",
    b"Content-Length: 4, 4\r\n",
    b"Content-Length: +4\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 0x4\r\n",
    b"Content-Length: 4 4\r\n",
    b"Content-Length: " + b"9" * 40 + b"\r\n",
    b"Content-Length : 4\r\n",
    b"Content-Length:\x0b4\r\n",
    b"Content-Length:\r\n 4\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: \r\n chunked\r\n",
)
CHUNKS = (
    b"g\r\nabc\r\n0\r\n\r\n",
    b"3\nabc\n0\n\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"-3\r\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b" 3\r\nabc\r\n0\r\n\r\n",
    b"3;" + b"a" * 200_000 + b"\r\nabc\r\n0\r\n\r\n",
    b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nHost: evil\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    b'1;a="\n\r\n{\r\n0\r\n\r\n',
    b"2\r\n{}\r\n00000000000000000\r\n\r\n",
    b"2\r\n{}\r\n0\r\n",
)
ENDS = (b"\r\n\r\n", b"\n\n", b"\r\r", b"\r\n\n", b"\r\n\0\r\n", b"\r\n \r\n\r\n")


def framing(world: World, random: Random) -> Attempt:
    """
    A request line, a framing, a chunk or an end that is wrong; alone on its connection.

    Behind an ambiguous length stands the request of an honest user: whichever of the two lengths
    a proxy believes, the server must answer once (with a refusal) and close.
    """
    token = world.spent[0].access_token.encode()
    hidden = b"GET /auth/me HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + token + b"\r\n\r\n"
    method, template = random.choice(world.endpoints)
    path = template.replace("{session_id}", "1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d11").encode()
    line = method.encode() + b" " + path + b" HTTP/1.1\r\n"
    endpoint, answers = f"{method} {template}", 1
    kind = random.randrange(7)
    if kind == 0:
        request, endpoint = random.choice(LINES) + b"\r\n" + HOST + b"\r\n", "elsewhere"
    elif kind == 1:
        # However it is read, the second request must not be answered beside the first.
        request = line + HOST + TYPE + random.choice(LENGTHS) + b"\r\n0\r\n\r\n" + hidden
    elif kind == 2:
        request = line + HOST + TYPE + b"Transfer-Encoding: chunked\r\n\r\n" + random.choice(CHUNKS)
    elif kind == 3:
        head = line.rstrip(b"\r\n") + b"\r\nHost: localhost"
        request = head + random.choice(
            (b"", b"\r\nX: " + random.choice((b"\0", b"\r", b"\x7f", b"\n")) + b"a")
        )
        request += random.choice(ENDS)
    elif kind == 4:
        whole = line + HOST + TYPE + b"Content-Length: 2\r\n\r\n{}"
        request = whole[: random.randrange(1, len(whole))]  # cut off
    elif kind == 5:
        data = bytearray(line + HOST + TYPE + b"Content-Length: 2\r\n\r\n{}")
        for _ in range(random.randrange(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        request, answers = bytes(data), 2
    else:
        count = random.choice((2, 5, 16, 17, 40))
        request, answers = (line + HOST + b"\r\n") * count, count
    return Attempt("framing", endpoint, request, framed=False, answers=answers)
