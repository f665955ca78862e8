"""The published ways to forge or smuggle a JWT, tried on our verifier (SECURITY §2.5)."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authsvc_client.tokens import base64url, jws
from authsvc_client.tokens.errors import InvalidToken
from authsvc_client.tokens.jwk import rsa_jwk
from tests.support.forge import CLAIMS, HEADER, segment, sign, verify, without
from tests.support.key_material import kid, rsa_key

PUBLIC = rsa_key().public_key()
PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PKCS1 = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
JWK = rsa_jwk(PUBLIC)
ATTACKER = rsa_jwk(rsa_key(1).public_key())


def refused(token: Any) -> str:
    with pytest.raises(InvalidToken) as caught:
        verify(token)
    return caught.value.detail


def with_hmac(secret: bytes, alg: str, digest: str) -> str:
    signed = f"{segment(HEADER | {'alg': alg})}.{segment(CLAIMS)}"
    return f"{signed}.{base64url.encode(hmac.digest(secret, signed.encode(), digest))}"


HMAC_SECRETS = {
    "PEM": PEM,
    "PEM without its last line end": PEM.rstrip(),
    "PEM with CRLF": PEM.replace(b"\n", b"\r\n"),
    "PEM with spaces in front": b"  \n" + PEM,
    "PEM with tabs behind": PEM + b"\t\t",
    "PEM of PKCS #1": PKCS1,
    "body of the PEM": b"".join(PEM.splitlines()[1:-1]),
    "DER": PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "DER of PKCS #1": PUBLIC.public_bytes(Encoding.DER, PublicFormat.PKCS1),
    "OpenSSH": PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    "JWK": json.dumps(JWK).encode(),
    "JWK, compact": json.dumps(JWK, separators=(",", ":")).encode(),
    "JWKS": json.dumps({"keys": [JWK]}).encode(),
    "modulus": JWK["n"].encode(),
    "kid": kid().encode(),
    "nothing": b"",
    "a zero": b"\0",
}


@pytest.mark.requirement("T3")
@pytest.mark.parametrize("secret", HMAC_SECRETS.values(), ids=HMAC_SECRETS.keys())
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_the_public_key_is_never_a_mac_secret(secret: bytes, alg: str) -> None:
    """CVE-2022-29217, CVE-2024-33663, CVE-2024-37568, CVE-2026-48526, CVE-2026-102266/-8/-71."""
    assert "bad_header" == refused(with_hmac(secret, alg, f"sha{alg[2:]}"))


@pytest.mark.requirement("T3")
@pytest.mark.parametrize("secret", HMAC_SECRETS.values(), ids=HMAC_SECRETS.keys())
def test_a_mac_under_the_name_of_rs256_is_no_signature(secret: bytes) -> None:
    assert "bad_signature" == refused(with_hmac(secret, "RS256", "sha256"))


@pytest.mark.requirement("T3")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 0, False, [], {}])
def test_none_is_no_algorithm(alg: object) -> None:
    unsigned = f"{segment(HEADER | {'alg': alg})}.{segment(CLAIMS)}"

    assert "malformed" == refused(f"{unsigned}.")
    assert "malformed" == refused(unsigned)
    assert "bad_header" == refused(sign(HEADER | {"alg": alg}, CLAIMS))


@pytest.mark.requirement("T3")
@pytest.mark.parametrize("alg", ["rs256", "RS256 ", " RS256", "RS\u200b256", ["RS256"]])
def test_the_algorithm_is_spelled_exactly(alg: object) -> None:
    assert "bad_header" == refused(sign(HEADER | {"alg": alg}, CLAIMS))


@pytest.mark.requirement("T3")
@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256", "PS384", "ES256", "EdDSA"])
def test_the_same_key_with_another_algorithm_is_refused(alg: str) -> None:
    """CVE-2026-48523; under its true name, and under ours."""
    for name, detail in ((alg, "bad_header"), ("RS256", "bad_signature")):
        signed = f"{segment(HEADER | {'alg': name})}.{segment(CLAIMS)}"
        data = signed.encode()
        if alg == "RS384":
            signature = rsa_key().sign(data, padding.PKCS1v15(), SHA384())
        elif alg == "RS512":
            signature = rsa_key().sign(data, padding.PKCS1v15(), SHA512())
        elif alg.startswith("PS"):
            pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
            signature = rsa_key().sign(data, pss, SHA256())
        else:
            signature = ec.generate_private_key(ec.SECP256R1()).sign(data, ec.ECDSA(SHA256()))
        assert detail == refused(f"{signed}.{base64url.encode(signature)}")


FOREIGN_MEMBERS: dict[str, object] = {
    "jwk": ATTACKER,
    "jku": "https://attacker.test/jwks.json",
    "x5u": "https://attacker.test/cert.pem",
    "x5c": ["MIIB"],
    "x5t": "AAAA",
    "x5t#S256": "AAAA",
    "crit": ["exp"],
    "b64": False,
    "zip": "DEF",
    "cty": "JWT",
    "enc": "A128GCM",
    "p2c": 2_147_483_647,
    "iss": "https://auth.example.com",
}


@pytest.mark.requirement("T1", "T4", "T5")
@pytest.mark.parametrize("number", [0, 1], ids=["our signature", "attacker's signature"])
@pytest.mark.parametrize("name", FOREIGN_MEMBERS)
def test_the_header_brings_nothing_along(name: str, number: int) -> None:
    """CVE-2026-27962 (jwk), CVE-2026-32597 and CVE-2025-59420 (crit), CVE-2026-48525 (b64)."""
    header = HEADER | {name: FOREIGN_MEMBERS[name]}

    assert "bad_header" == refused(sign(header, CLAIMS, rsa_key(number)))


@pytest.mark.requirement("T5")
@pytest.mark.parametrize("crit", [[], "exp", ["exp", "exp"], ["alg"], ["unknown"], None, [1]])
def test_every_crit_is_refused(crit: object) -> None:
    assert "bad_header" == refused(sign(HEADER | {"crit": crit, "b64": True}, CLAIMS))


@pytest.mark.requirement("T4")
@pytest.mark.parametrize(
    "value",
    [None, 7, "", [kid()], {"kid": kid()}, "../../../dev/null", "' OR 1=1 --", "x" * 43, kid(1)],
    ids=range(9),
)
def test_the_kid_names_a_key_of_ours(value: object) -> None:
    assert refused(sign(HEADER | {"kid": value}, CLAIMS, rsa_key(1))) in {
        "bad_header",
        "unknown_kid",
    }


@pytest.mark.requirement("T3", "T4")
@pytest.mark.parametrize("name", ["alg", "typ", "kid"])
def test_every_header_member_is_needed(name: str) -> None:
    assert "bad_header" == refused(sign(without(HEADER, name), CLAIMS))


@pytest.mark.requirement("T9")
@pytest.mark.parametrize(
    "typ",
    ["JWT", "jwt", "AT+JWT", "application/at+jwt", "logout+jwt", "id+jwt", "", None, ["at+jwt"]],
    ids=str,
)
def test_no_other_kind_of_token_is_an_access_token(typ: object) -> None:
    assert "bad_header" == refused(sign(HEADER | {"typ": typ}, CLAIMS))


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "payload", "signature"])
def test_a_token_has_one_spelling(part: int) -> None:
    """CVE-2026-102269: a second spelling of a revoked token must not work."""
    parts = sign(HEADER, CLAIMS | {"pad": "x"}).split(".")
    spellings = [
        parts[part] + "=",
        parts[part] + "==",
        parts[part] + "\n",
        " " + parts[part],
        parts[part][:7] + "\n" + parts[part][7:],
        parts[part] + "A",
        parts[part][:-1],
        "\ufeff" + parts[part],
        parts[part].replace(parts[part][0], "+", 1),
    ]

    for spelling in spellings:
        respelled = ".".join([*parts[:part], spelling, *parts[part + 1 :]])
        assert refused(respelled) in {"malformed", "bad_signature", "bad_header"}


@pytest.mark.requirement("T6")
def test_stray_trailing_bits_of_the_signature_are_refused() -> None:
    """256 bytes leave two bits over in base64url, so that four spellings decode alike."""
    token = sign(HEADER, CLAIMS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(token[-1])
    twins = [token[:-1] + alphabet[last + extra] for extra in range(1, 16)]

    assert 0 == last % 16
    assert {"malformed"} == {refused(twin) for twin in twins}


@pytest.mark.requirement("T6")
def test_json_serializations_are_refused() -> None:
    """PYSEC-2022-259: a mix of compact and JSON forms forged claims."""
    header, payload, signature = sign(HEADER, CLAIMS).split(".")
    flattened = {"protected": header, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": header, "signature": signature}]}
    mixed = f'{header}.{segment(CLAIMS | {"sub": "x"})}.{{"signature":"{signature}"}}'

    for token in (json.dumps(flattened), json.dumps(general), mixed, json.dumps([flattened])):
        assert "malformed" == refused(token)


@pytest.mark.requirement("T6", "T10")
@pytest.mark.parametrize("dots", [0, 1, 3, 4, 8000])
def test_only_three_segments_are_read(dots: int) -> None:
    """JWE has five (CVE-2023-6681, CVE-2024-28180); thousands of dots (CVE-2025-30204)."""
    assert "malformed" == refused(".".join(["AAAA"] * (dots + 1)))
    assert "malformed" == refused("." * dots)


@pytest.mark.requirement("T10")
def test_size_is_checked_before_anything_is_decoded() -> None:
    """CVE-2025-61920; a token of ours with a large claim, so that only its size is wrong."""
    at_the_limit = sign(HEADER, CLAIMS | {"pad": "x" * 5000})
    over = sign(HEADER, CLAIMS | {"pad": "x" * 6000})

    assert len(at_the_limit) <= 8192 < len(over)
    assert verify(at_the_limit)
    assert "malformed" == refused(over)


@pytest.mark.requirement("T10")
@pytest.mark.parametrize("unit", ["A", ".", "AAAA.", "=", "\u20ac", "\0"])
def test_a_mebibyte_is_refused_by_its_length_alone(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = sign(HEADER, CLAIMS)
    for reads in ("COMPACT", "base64url", "json_object"):
        monkeypatch.setattr(jws, reads, None)

    with pytest.raises(AttributeError):  # the control
        verify(good)

    assert "malformed" == refused((unit * 1_048_576)[:1_048_576])


@pytest.mark.requirement("T11")
@pytest.mark.parametrize(
    "header",
    [
        f'{{"alg":"RS256","typ":"at+jwt","kid":"{kid()}","alg":"RS256"}}',
        f'{{"alg":"none","alg":"RS256","typ":"at+jwt","kid":"{kid()}"}}',
        f'{{"alg":"RS256","typ":"at+jwt","kid":"{kid(1)}","kid":"{kid()}"}}',
        f'{{"alg":"RS256","\\u0061lg":"RS256","typ":"at+jwt","kid":"{kid()}"}}',
    ],
    ids=range(4),
)
def test_duplicate_members_of_the_header_are_refused(header: str) -> None:
    assert "malformed" == refused(sign(header, CLAIMS))


@pytest.mark.requirement("T11")
def test_duplicate_claims_are_refused() -> None:
    payload = json.dumps(CLAIMS)
    twice = payload[:-1] + ',"sub":"somebody-else"}'
    nested = payload[:-1] + ',"act":{"sub":"a","sub":"b"}}'

    assert {"malformed"} == {refused(sign(HEADER, twice)), refused(sign(HEADER, nested))}


@pytest.mark.requirement("T3", "T8")
def test_an_expired_token_with_a_bad_signature_is_not_authentic() -> None:
    """CVE-2024-51744: "expired" must not be read as "otherwise fine"."""
    expired = CLAIMS | {"exp": 1, "iat": 0, "nbf": 0}

    assert "bad_signature" == refused(sign(HEADER, expired, rsa_key(1)))
    assert "expired" == refused(sign(HEADER, expired))


@pytest.mark.parametrize(
    "payload",
    ["", "null", "[]", '"text"', "7", "{", "{}x", "{'iss':1}", "[" * 5000, '{"a":' * 900, b"\xff"],
    ids=repr,
)
def test_a_payload_that_is_no_object_is_malformed(payload: str | bytes) -> None:
    assert "malformed" == refused(sign(HEADER, payload))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_json_is_utf8(encoding: str) -> None:
    """Python's `json.loads` would guess; RFC 8259 §8.1 has one encoding."""
    assert "malformed" == refused(sign(HEADER, json.dumps(CLAIMS).encode(encoding)))


def test_signatures_of_another_length_or_key_are_refused() -> None:
    signed, _, signature = sign(HEADER, CLAIMS).rpartition(".")
    raw = base64url.decode(signature)

    for other in (raw[:-1], raw + b"\0", b"\0" + raw, bytes(256), b"\xff" * 256, raw[::-1]):
        assert "bad_signature" == refused(f"{signed}.{base64url.encode(other)}")
    assert "bad_signature" == refused(sign(HEADER, CLAIMS, rsa_key(1)))


@pytest.mark.parametrize("value", [None, 7, b"a.b.c", ["a.b.c"], {}, True])
def test_what_is_no_text_is_no_token(value: object) -> None:
    assert "malformed" == refused(value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.text() | st.binary() | JSON_VALUES)
@example("..")
@example("\ud800.\ud800.\ud800")
def test_whatever_arrives_only_unauthenticated_leaves(token: object) -> None:
    refused(token)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*HEADER, "crit", "jwk"]), JSON_VALUES))
def test_any_header_over_a_valid_signature_is_refused(changed: dict[str, object]) -> None:
    header = HEADER | changed
    if header != HEADER:
        refused(sign(header, CLAIMS))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*CLAIMS, "scope", "x"]), JSON_VALUES, max_size=4))
def test_any_claims_over_a_valid_signature_are_read_or_refused(changed: dict[str, Any]) -> None:
    try:
        claims = verify(sign(HEADER, CLAIMS | changed))
    except InvalidToken:
        return
    assert isinstance(claims.sub, str)
    assert claims.exp.tzinfo is not None


@settings(deadline=None)
@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_one_changed_bit_anywhere_is_refused(position: int, mask: int) -> None:
    token = bytearray(sign(HEADER, CLAIMS).encode())
    token[position % len(token)] ^= mask

    refused(token.decode("latin-1"))


@pytest.mark.requirement("T10")
def test_verification_is_quick() -> None:
    token = sign(HEADER, CLAIMS)
    verify(token)

    started = time.process_time()
    for _ in range(200):
        verify(token)

    assert timedelta(seconds=time.process_time() - started) / 200 < timedelta(milliseconds=1)
    assert hashlib.sha256(token.encode()).digest()
