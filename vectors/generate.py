"""
Write the test vectors: the same bytes from the same seed, whenever and wherever it runs.

    python vectors/generate.py            complain if the files are not what it would write
    python vectors/generate.py --write    write them

The private keys are made from the seed as well, and protect nothing. README.md beside this file
says what the files mean.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from feeds import Feeds

from authsvc_client.tokens import base64url
from authsvc_client.tokens.jwk import rsa_jwk, thumbprint

HERE = Path(__file__).parent
SEED = "authsvc vectors 1"
NOW = 1_795_341_600  # 2026-11-22T10:00:00Z
ISSUER = "https://auth.example.com"
AUDIENCE = "orders"
LEEWAY = 30

Json = dict[str, Any]


# Keys


def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key that follows from its name."""
    source = Random(f"{SEED} {name}")  # noqa: S311 - the same again is the point
    p, q = _prime(source, bits // 2), _prime(source, bits // 2)
    private = pow(65_537, -1, math.lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(65_537, p * q)
    return rsa.RSAPrivateNumbers(
        p, q, private, private % (p - 1), private % (q - 1), pow(q, -1, p), public
    ).private_key()


def _prime(source: Random, bits: int) -> int:
    while True:
        number = source.getrandbits(bits) | (3 << (bits - 2)) | 1
        if (
            math.gcd(number, SMALL) == 1
            and math.gcd(number - 1, 65_537) == 1
            and all(_passes(number, source.randrange(2, number)) for _ in range(20))
        ):
            return number


SMALL = math.prod(n for n in range(3, 2000, 2) if all(n % d for d in range(3, n, 2)))


def _passes(number: int, witness: int) -> bool:
    """One round of Miller and Rabin."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    power = pow(witness, odd, number)
    if power in {1, number - 1}:
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


CURRENT, NEXT, STRANGER = rsa_key("current"), rsa_key("next"), rsa_key("stranger")
KID = thumbprint(CURRENT.public_key())
EC = ec.derive_private_key(int.from_bytes(hashlib.sha256(SEED.encode()).digest()), ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(SEED.encode()).digest())


def ec_jwk() -> Json:
    """A key of another kind in the set: it is there, and no business of an RS256 verifier."""
    point = EC.public_key().public_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": base64url.encode(point.x.to_bytes(32)),
        "y": base64url.encode(point.y.to_bytes(32)),
        "use": "sig",
        "alg": "ES256",
        "kid": "of-another-kind",
    }


JWKS: Json = {"keys": [rsa_jwk(CURRENT.public_key()), ec_jwk(), rsa_jwk(NEXT.public_key())]}


# Tokens

HEADER: Json = {"alg": "RS256", "typ": "at+jwt", "kid": KID}
CLAIMS: Json = {
    "iss": ISSUER,
    "sub": "7d0f5c1e-6a0c-4f57-9d4c-2f9f5b9a4f10",
    "aud": AUDIENCE,
    "exp": NOW + 600,
    "iat": NOW - 300,
    "nbf": NOW - 330,
    "jti": "b2pMa5AuinvdBr1xhpDhfg",
    "sid": "1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d11",
    "client_id": "authsvc",
    "auth_time": NOW - 300,
    "roles": ["admin", "editor"],
    "amr": ["pwd"],
}


def without(members: Json, *names: str) -> Json:
    """The members but for some."""
    return {name: value for name, value in members.items() if name not in names}


def segment(value: object) -> str:
    """JSON, or raw text or bytes, in base64url."""
    if isinstance(value, bytes):
        return base64url.encode(value)
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return base64url.encode(text.encode())


def signed(header: object, claims: object, key: rsa.RSAPrivateKey = CURRENT) -> str:
    """A token with a good RS256 signature of that key, whatever its header says."""
    content = f"{segment(header)}.{segment(claims)}"
    signature = key.sign(content.encode(), padding.PKCS1v15(), SHA256())
    return f"{content}.{base64url.encode(signature)}"


def with_signature(header: object, signature: Callable[[bytes], bytes]) -> str:
    """A token whose signature is a function of what is signed."""
    content = f"{segment(header)}.{segment(CLAIMS)}"
    return f"{content}.{base64url.encode(signature(content.encode()))}"


def valid() -> Iterator[Json]:
    """Tokens that every verifier accepts."""

    def accept(name: str, claims: Json, *, key: rsa.RSAPrivateKey = CURRENT) -> Json:
        header = HEADER | {"kid": thumbprint(key.public_key())}
        return {"name": name, "token": signed(header, claims, key), "claims": claims}

    yield accept("a login", CLAIMS)
    yield accept("signed by the other published key", CLAIMS, key=NEXT)
    yield accept(
        "a service's own token: no session, no roles",
        without(CLAIMS, "sid", "roles", "auth_time", "amr")
        | {"sub": "billing", "client_id": "billing"},
    )
    yield accept("with scope", CLAIMS | {"scope": "orders:read orders:write"})
    yield accept("one of several audiences", CLAIMS | {"aud": ["billing", AUDIENCE]})
    yield accept("the only one of a list of audiences", CLAIMS | {"aud": [AUDIENCE]})
    yield accept("with the version of what it says", CLAIMS | {"ver": 3})
    yield accept("no roles, said so", CLAIMS | {"roles": []})
    yield accept("expired, within the leeway", CLAIMS | {"exp": NOW - LEEWAY + 1})
    yield accept("not yet valid, within the leeway", CLAIMS | {"nbf": NOW + LEEWAY})
    yield accept(
        "issued in the future, within the leeway", CLAIMS | {"iat": NOW + LEEWAY, "nbf": NOW}
    )
    yield accept("a claim that nobody knows", CLAIMS | {"https://example.com/tier": {"gold": 1}})
    yield accept("text beyond ASCII", CLAIMS | {"sub": "grüße-😀"})
    yield accept("almost 8 KiB", CLAIMS | {"pad": "x" * 4900})


def invalid() -> Iterator[Json]:
    """Tokens that must be refused, and why."""
    for about in (_forms, _headers, _algorithms, _signatures, _meant_for_others, _claims):
        yield from about()


def refuse(name: str, reason: str, row: str, token: str, *, strict: bool = False) -> Json:
    """
    Args:
        strict: That others accept it may be harmless or beyond them; ours refuses it.
    """
    return {"name": name, "reason": reason, "row": row, "strict": strict, "token": token}


def _forms() -> Iterator[Json]:
    good = signed(HEADER, CLAIMS)
    header, payload, signature = good.split(".")
    unsigned = f"{header}.{payload}"
    flattened = {"protected": header, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [without(flattened, "payload")]}
    for name, token in {
        "nothing": "",
        "no signature": unsigned,
        "an empty signature": f"{unsigned}.",
        "an empty payload": f"{header}..{signature}",
        "an empty header": f".{payload}.{signature}",
        "four segments": f"{good}.{signature}",
        "five segments, as a JWE": f"{good}.{signature}.{signature}",
        "thousands of dots": "." * 4000,
        "the JSON serialization, flattened": json.dumps(flattened),
        "the JSON serialization, general": json.dumps(general),
    }.items():
        yield refuse(name, "malformed", "T6", token)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(good[-1]) + 1]
    for name, token in {
        "padding": f"{good}==",
        "a line end": f"{good}\n",
        "a space in front": f" {good}",
        "the alphabet of base64": good.replace("-", "+").replace("_", "/"),
        "a line end inside": f"{unsigned}.{signature[:9]}\n{signature[9:]}",
        "other trailing bits: a second spelling of a good token": good[:-1] + twin,
    }.items():
        yield refuse(name, "malformed", "T6", token, strict=True)
    yield refuse(
        "more than 8 KiB",
        "malformed",
        "T10",
        signed(HEADER, CLAIMS | {"pad": "x" * 6000}),
        strict=True,
    )
    for name, text in {
        "a payload that is a list": "[]",
        "a payload that is null": "null",
        "a payload that is no JSON": "{'iss':1}",
        "a payload that is no UTF-8": b"\xff\xfe",
        "a payload in UTF-16": json.dumps(CLAIMS).encode("utf-16"),
        "a payload with NaN": json.dumps(CLAIMS | {"exp": float("nan")}),
        "a payload nested without end": "[" * 3000,
    }.items():
        yield refuse(name, "malformed", "T11", signed(HEADER, text))
    for name, token in {
        "a claim twice": signed(HEADER, json.dumps(CLAIMS)[:-1] + ',"sub":"somebody-else"}'),
        "a header member twice": signed(
            f'{{"alg":"none","alg":"RS256","typ":"at+jwt","kid":"{KID}"}}', CLAIMS
        ),
        "a header member twice, once escaped": signed(
            f'{{"alg":"RS256","\\u0061lg":"RS256","typ":"at+jwt","kid":"{KID}"}}', CLAIMS
        ),
    }.items():
        yield refuse(name, "malformed", "T11", token, strict=True)


def _headers() -> Iterator[Json]:
    attacker = rsa_jwk(STRANGER.public_key())
    brought: Json = {
        "jwk": attacker,
        "jku": "https://attacker.test/jwks.json",
        "x5u": "https://attacker.test/certificate.pem",
        "x5c": ["MIIB"],
    }
    for name, value in brought.items():
        yield refuse(
            f"a key of its own: {name}, signed with it",
            "bad_header",
            "T4",
            signed(HEADER | {name: value}, CLAIMS, STRANGER),
        )
        yield refuse(
            f"a good signature, and {name}",
            "bad_header",
            "T4",
            signed(HEADER | {name: value}, CLAIMS),
            strict=True,
        )
    for name, value in {"zip": "DEF", "cty": "JWT", "x5t": "AAAA", "iss": ISSUER}.items():
        yield refuse(
            f"a header member that authsvc never writes: {name}",
            "bad_header",
            "T1",
            signed(HEADER | {name: value}, CLAIMS),
            strict=True,
        )
    for value in (["exp"], ["unknown"], [], "exp", None):
        yield refuse(
            f"crit: {json.dumps(value)}",
            "bad_header",
            "T5",
            signed(HEADER | {"crit": value}, CLAIMS),
        )
    yield refuse(
        "b64: false", "bad_header", "T5", signed(HEADER | {"b64": False, "crit": ["b64"]}, CLAIMS)
    )
    for typ in ("JWT", "id+jwt", "logout+jwt", "rvk+jwt", "ia+jwt", "", None, ["at+jwt"]):
        yield refuse(
            f"another kind of token: {json.dumps(typ)}",
            "bad_header",
            "T9",
            signed(HEADER | {"typ": typ}, CLAIMS),
        )
    for typ in ("AT+JWT", "application/at+jwt"):
        yield refuse(
            f"a spelling of typ that authsvc never writes: {typ}",
            "bad_header",
            "T9",
            signed(HEADER | {"typ": typ}, CLAIMS),
            strict=True,
        )
    yield refuse("no typ", "bad_header", "T9", signed(without(HEADER, "typ"), CLAIMS))
    yield refuse("no kid", "bad_header", "T4", signed(without(HEADER, "kid"), CLAIMS))
    for kid in (None, 7, "", [KID], "../../../dev/null"):
        yield refuse(
            f"kid: {json.dumps(kid)}", "bad_header", "T4", signed(HEADER | {"kid": kid}, CLAIMS)
        )
    yield refuse(
        "a kid of nobody's",
        "unknown_kid",
        "T4",
        signed(HEADER | {"kid": "x" * 43}, CLAIMS, STRANGER),
    )
    yield refuse(
        "a key that is not published",
        "unknown_kid",
        "T4",
        signed(HEADER | {"kid": attacker["kid"]}, CLAIMS, STRANGER),
    )


def _algorithms() -> Iterator[Json]:
    content = f"{segment(HEADER | {'alg': 'none'})}.{segment(CLAIMS)}"
    yield refuse("alg none, without signature", "malformed", "T3", f"{content}.")
    for alg in ("none", "None", "NONE", "", None, "rs256", "RS256 ", ["RS256"], 0):
        yield refuse(
            f"alg: {json.dumps(alg)}, with a signature",
            "bad_header",
            "T3",
            signed(HEADER | {"alg": alg}, CLAIMS),
        )
    yield refuse("no alg", "bad_header", "T3", signed(without(HEADER, "alg"), CLAIMS))
    public = CURRENT.public_key()
    secrets = {
        "PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(rsa_jwk(public)).encode(),
        "modulus": rsa_jwk(public)["n"].encode(),
        "nothing": b"",
    }
    for name, secret in secrets.items():
        for alg, reason in (("HS256", "bad_header"), ("RS256", "bad_signature")):
            yield refuse(
                f"an HMAC with the public key ({name}) under the name {alg}",
                reason,
                "T3",
                with_signature(
                    HEADER | {"alg": alg},
                    lambda data, secret=secret: hmac.digest(secret, data, "sha256"),
                ),
            )
    signatures = {
        "RS384": lambda data: CURRENT.sign(data, padding.PKCS1v15(), SHA384()),
        "RS512": lambda data: CURRENT.sign(data, padding.PKCS1v15(), SHA512()),
        # Without salt: the same bytes every time.
        "PS256": lambda data: CURRENT.sign(
            data, padding.PSS(padding.MGF1(SHA256()), salt_length=0), SHA256()
        ),
        "ES256": _es256,
        "EdDSA": ED.sign,
    }
    for alg, signature in signatures.items():
        for named, reason in ((alg, "bad_header"), ("RS256", "bad_signature")):
            yield refuse(
                f"{alg} under the name {named}",
                reason,
                "T3",
                with_signature(HEADER | {"alg": named}, signature),
            )
    yield refuse(
        "ES256 with the kid of the EC key in the set",
        "bad_header",
        "T3",
        with_signature(HEADER | {"alg": "ES256", "kid": "of-another-kind"}, _es256),
    )


def _es256(data: bytes) -> bytes:
    der = EC.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True))
    return b"".join(number.to_bytes(32) for number in decode_dss_signature(der))


def _signatures() -> Iterator[Json]:
    good = signed(HEADER, CLAIMS)
    content, _, signature = good.rpartition(".")
    raw = base64url.decode(signature)
    changed = segment(CLAIMS | {"roles": ["root"]})
    for name, token in {
        "another's signature": signed(HEADER, CLAIMS, STRANGER),
        "the other published key's signature": signed(HEADER, CLAIMS, NEXT),
        "claims changed afterwards": f"{segment(HEADER)}.{changed}.{signature}",
        "one bit changed": f"{content}.{base64url.encode(bytes([raw[0] ^ 1]) + raw[1:])}",
        "one byte short": f"{content}.{base64url.encode(raw[:-1])}",
        "one byte more": f"{content}.{base64url.encode(raw + bytes(1))}",
        "zeros": f"{content}.{base64url.encode(bytes(256))}",
        "expired as well": signed(HEADER, CLAIMS | {"exp": 1, "iat": 0, "nbf": 0}, STRANGER),
    }.items():
        yield refuse(name, "bad_signature", "T3", token)


def _with_claims(**changes: object) -> str:
    return signed(HEADER, CLAIMS | changes)


def _meant_for_others() -> Iterator[Json]:
    for iss in (
        "https://auth.example.org",
        f"{ISSUER}/",
        ISSUER[:-1],
        f"{ISSUER}.attacker.test",
        ISSUER.upper(),
        f" {ISSUER}",
    ):
        yield refuse(f"iss: {json.dumps(iss)}", "wrong_issuer", "T7", _with_claims(iss=iss))
    for iss in ([ISSUER], None, 7, ""):
        yield refuse(f"iss: {json.dumps(iss)}", "bad_claims", "T7", _with_claims(iss=iss))
    for aud in (
        "billing",
        f"{AUDIENCE}s",
        AUDIENCE[:-1],
        AUDIENCE.upper(),
        "*",
        "",
        ["billing"],
        [],
    ):
        yield refuse(f"aud: {json.dumps(aud)}", "wrong_audience", "T7", _with_claims(aud=aud))
    for aud in (None, 7, {AUDIENCE: 1}):
        yield refuse(f"aud: {json.dumps(aud)}", "bad_claims", "T7", _with_claims(aud=aud))
    yield refuse(
        "an audience among what is no text",
        "bad_claims",
        "T7",
        _with_claims(aud=[AUDIENCE, 7]),
        strict=True,
    )


def _claims() -> Iterator[Json]:
    yield refuse("expired", "expired", "T8", _with_claims(exp=NOW - LEEWAY))
    yield refuse("expired long ago", "expired", "T8", _with_claims(exp=2, iat=1, nbf=1))
    yield refuse("not yet valid", "not_yet_valid", "T8", _with_claims(nbf=NOW + LEEWAY + 1))
    yield refuse(
        "issued in the future",
        "not_yet_valid",
        "T8",
        _with_claims(iat=NOW + LEEWAY + 1),
        strict=True,
    )
    for name in ("iss", "aud", "exp", "iat", "sub", "jti", "client_id", "nbf"):
        yield refuse(f"no {name}", "bad_claims", "T8", signed(HEADER, without(CLAIMS, name)))
    for name in ("exp", "iat", "nbf"):
        for value in (True, None, [NOW], {}):
            yield refuse(
                f"{name}: {json.dumps(value)}", "bad_claims", "T8", _with_claims(**{name: value})
            )
        for value in (str(NOW + 60), -1, NOW + 0.5, 253_402_300_800):
            yield refuse(
                f"{name}: {json.dumps(value)}",
                "bad_claims",
                "T8",
                _with_claims(**{name: value}),
                strict=True,
            )
    yield refuse(
        "exp: 1e400",
        "bad_claims",
        "T8",
        signed(HEADER, json.dumps(CLAIMS).replace(str(NOW + 600), "1e400")),
        strict=True,
    )
    yield refuse(
        "expires before it was issued",
        "bad_claims",
        "T8",
        _with_claims(iat=NOW + 20, nbf=NOW, exp=NOW + 20),
        strict=True,
    )
    for name, value in {
        "sub": "",
        "jti": 7,
        "client_id": ["authsvc"],
        "roles": "admin",
        "scope": ["a"],
        "sid": "not-a-uuid",
        "amr": "pwd",
        "auth_time": "yesterday",
        "ver": 0,
    }.items():
        yield refuse(
            f"{name}: {json.dumps(value)}",
            "bad_claims",
            "T8",
            _with_claims(**{name: value}),
            strict=True,
        )


# Key sets


def key_sets() -> Iterator[Json]:
    """Documents, and the kids that a verifier takes from each; none: it is refused as a whole."""
    good, other = rsa_jwk(CURRENT.public_key()), rsa_jwk(NEXT.public_key())
    small = rsa_jwk(rsa_key("small", 1024).public_key())

    def offer(name: str, document: object, *kids: str) -> Json:
        text = document if isinstance(document, str) else json.dumps(document)
        return {"name": name, "document": text, "kids": list(kids)}

    yield offer("two keys, and one of another kind", JWKS, good["kid"], other["kid"])
    yield offer("an unknown member", {"keys": [good | {"x": 1}], "more": []}, good["kid"])
    yield offer("empty", {"keys": []})
    yield offer("no keys", {})
    yield offer("keys that are no list", {"keys": good})
    yield offer("no object", [good])
    yield offer("no JSON", "<html>")
    yield offer("nothing", "")
    yield offer("a member twice", '{"keys":[],"keys":[' + json.dumps(good) + "]}")
    yield offer("a key that is no object", {"keys": [good, "key"]})
    yield offer("only a key of another kind", {"keys": [ec_jwk()]})
    for name, changes in {
        "for encryption": {"use": "enc"},
        "for another algorithm": {"alg": "RS512"},
        "under another kid": {"kid": other["kid"]},
        "without its modulus": {"n": None},
        "with a modulus that is cut off": {"n": good["n"][:-4]},
        "with a modulus in base64": {"n": good["n"].replace("-", "+").replace("_", "/")},
        "with a small exponent": {"e": "Aw"},
        "with its private part": {"d": "AQAB"},
    }.items():
        yield offer(f"a key {name}", {"keys": [good | changes]})
        yield offer(
            f"a key {name}, beside a good one", {"keys": [good | changes, other]}, other["kid"]
        )
    yield offer("a key of 1024 bits", {"keys": [small]})


def documents() -> dict[str, str]:
    """The files by name."""
    tokens = {
        "about": "Access tokens of authsvc (RFC 9068): what a verifier accepts and refuses.",
        "seed": SEED,
        "now": NOW,
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "leeway": LEEWAY,
        "jwks": JWKS,
        "valid": list(valid()),
        "invalid": list(invalid()),
    }
    sets = {"about": "JWK Sets, and the keys to take from them.", "key_sets": list(key_sets())}
    keys = {"current": CURRENT, "next": NEXT, "stranger": STRANGER}
    claims = CLAIMS | {"ver": 2}
    documents = Feeds(
        lambda header, payload, key: signed(_present(header), payload, keys[key]),
        kids={name: thumbprint(key.public_key()) for name, key in keys.items()},
        issuer=ISSUER,
        now=NOW,
        claims=claims,
    )
    feeds = {
        "about": "Revocation feeds of authsvc: what a verifier accepts and what it makes of them.",
        "seed": SEED,
        "now": NOW,
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "leeway": LEEWAY,
        "jwks": JWKS,
        "token": signed(HEADER, claims),
        "valid": list(documents.valid()),
        "invalid": list(documents.invalid()),
        "stories": list(documents.stories()),
    }
    return {
        "access_tokens.json": json.dumps(tokens, indent=1) + "\n",
        "key_sets.json": json.dumps(sets, indent=1) + "\n",
        "revocation_feeds.json": json.dumps(feeds, indent=1) + "\n",
    }


def _present(header: object) -> object:
    """A header without the members that are None."""
    if not isinstance(header, dict):
        return header
    return {name: value for name, value in header.items() if value is not None}


def main() -> int:
    """Check or write; 1 if a file is not as it would be written."""
    old = [
        name
        for name, text in documents().items()
        if not (HERE / name).exists() or (HERE / name).read_text(encoding="utf-8") != text
    ]
    if "--write" in sys.argv[1:]:
        for name, text in documents().items():
            (HERE / name).write_text(text, encoding="utf-8")
        return 0
    for name in old:
        sys.stderr.write(f"vectors/{name} is old: run `python vectors/generate.py --write`\n")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
