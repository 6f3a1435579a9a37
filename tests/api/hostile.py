"""Malformed and hostile requests, made from a seed: the same ones for the same number."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from service.bench.images import png, tiled_tiff
from tests.api.conftest import b64

BOUNDARY = "bnd"
PATHS = ("/v1/verify", "/v1/identify", "/v1/enroll", "/v1/detect", "/v1/embed")
IMAGE_FIELDS = {
    "/v1/verify": ("probe", "reference"),
    "/v1/identify": ("image",),
    "/v1/enroll": ("images",),
    "/v1/detect": ("image",),
    "/v1/embed": ("image",),
}
NASTY = (
    "",
    " ",
    "\x00",
    "../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:9/x.jpg",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "%s%n%x",
    "${jndi:ldap://x}",
    "\u202e\u0000\ud7ff",
    "💥" * 400,
    "NaN",
    "Infinity",
    "-1e309",
    "1e-400",
    "true",
    "null",
    "[]",
    "{}",
    "9" * 400,
    "0x10",
    "١٢٣",
)


@dataclass(frozen=True)
class Attack:
    """One request to send as it stands."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def attacks(seed: int, count: int, faces: list[bytes]) -> list[Attack]:
    """`count` hostile requests; `faces` are real photographs to damage."""
    chance = random.Random(seed)
    return [chance.choice(KINDS)(chance, faces) for _ in range(count)]


def hostile_image(chance: random.Random, faces: list[bytes]) -> bytes:  # noqa: PLR0911 - one return a kind
    """Bytes that claim, or nearly manage, to be an image."""
    whole = bytearray(chance.choice(faces))
    kind = chance.randrange(12)
    if kind == 0:
        return bytes(whole[: chance.randrange(len(whole))])
    if kind == 1:
        for _ in range(chance.randrange(1, 60)):
            whole[chance.randrange(len(whole))] = chance.randrange(256)
        return bytes(whole)
    if kind == 2:
        magic = (
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a",
            b"BM",
            b"RIFF\x00\x00\x00\x00WEBP",
            b"II*\x00",
            b"MM\x00*",
        )
        return chance.choice(magic) + chance.randbytes(chance.randrange(4000))
    if kind == 3:
        return _png(chance.choice((0, 1, 7, 60_000, 2**31 - 1)), chance.choice((0, 1, 60_000)), chance.randbytes(20))
    if kind == 4:
        return b"%PDF-1.7\n<html><script>" + bytes(whole)
    if kind == 5:
        head = chance.randrange(2, 40)
        return bytes(whole[:head]) + chance.randbytes(8) + bytes(whole[head:])
    if kind == 6:
        return _gif(chance)
    if kind == 7:
        side = chance.choice((1, 2, 8, 9, 31))
        return _encoded(Image.new("RGB", (side, chance.choice((side, 3000))), (chance.randrange(256),) * 3), "PNG")
    if kind == 8:
        mode = chance.choice(("1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "F", "YCbCr", "I"))
        return _encoded(Image.new(mode, (40, 40)), "TIFF")
    if kind == 9:
        return chance.choice(COSTLY)
    if kind == 10:
        depth, level = chance.choice(((np.uint16, 900), (np.int32, -7), (np.float32, 0.5), (np.float32, np.nan)))
        return _encoded(Image.fromarray(np.full((40, 40), level, depth)), "TIFF")
    return chance.randbytes(chance.randrange(3000))


COSTLY = (
    tiled_tiff(100, 100, 20_000),
    tiled_tiff(100, 100, 64, samples=3),
    png(np.zeros((300, 200, 3), np.uint16)),
    png(np.zeros((300, 200, 3), np.uint8), interlaced=True),
)
"""Images that claim more than they show, or take more than they weigh."""


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def _png(width: int, height: int, data: bytes) -> bytes:
    """A PNG whose header may lie."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def _gif(chance: random.Random) -> bytes:
    size = struct.pack("<HH", chance.choice((1, 50, 65535)), chance.choice((1, 50, 65535)))
    return b"GIF89a" + size + b"\xf7\x00\x00" + chance.randbytes(800) + b"," + chance.randbytes(40)


def _damaged_image(chance: random.Random, faces: list[bytes]) -> Attack:
    path = chance.choice(PATHS)
    images = {name: hostile_image(chance, faces) for name in IMAGE_FIELDS[path]}
    fields = {"subject": "x"} if path == "/v1/enroll" else {}
    if chance.random() < 0.3:
        values = {name: [b64(data)] if name == "images" else b64(data) for name, data in images.items()}
        return Attack("POST", path, {"Content-Type": "application/json"}, json.dumps({**values, **fields}).encode())
    return Attack("POST", path, _form_headers(), _form([(n, d, True) for n, d in images.items()], fields))


def _nasty_fields(chance: random.Random, faces: list[bytes]) -> Attack:
    path = chance.choice(PATHS)
    parts = [(name, chance.choice(faces), True) for name in IMAGE_FIELDS[path]]
    names = ("model", "fmr", "threshold", "subject", "collection", "top_k", "faces", "quality", "metadata", "duplicate")
    chosen = chance.sample(names, chance.randrange(1, 4))
    fields = {name: chance.choice(NASTY) for name in chosen}
    if chance.random() < 0.3:
        parts.append((chance.choice(NASTY), chance.choice(NASTY).encode(errors="replace"), chance.random() < 0.5))
    return Attack("POST", path, _form_headers(), _form(parts, fields))


def _broken_json(chance: random.Random, faces: list[bytes]) -> Attack:
    path = chance.choice((*PATHS, "/v1/collections", "/v1/roles"))
    method = "PUT" if path == "/v1/roles" else "POST"
    whole = json.dumps({"name": chance.choice(NASTY), "image": b64(chance.choice(faces)[:300]), "fmr": 0.01}).encode()
    kind = chance.randrange(6)
    body = (
        whole[: chance.randrange(len(whole))],
        b"[" * chance.randrange(1, 50_000),
        b'{"a":' * chance.randrange(1, 20_000),
        whole.replace(b'"fmr": 0.01', b'"fmr": ' + chance.choice((b"1e999", b"NaN", b"-0", b"1" * 5000))),
        chance.randbytes(200),
        json.dumps(chance.choice([[], None, 3, "x", {"images": [1] * 50}, {"image": {"$ref": "#"}}])).encode(),
    )[kind]
    return Attack(method, path, {"Content-Type": "application/json"}, body)


def _broken_form(chance: random.Random, faces: list[bytes]) -> Attack:
    path = chance.choice(PATHS)
    body = bytearray(
        _form([(name, chance.choice(faces)[:2000], True) for name in IMAGE_FIELDS[path]], {"subject": "x"})
    )
    kind = chance.randrange(6)
    if kind == 0:
        return Attack("POST", path, _form_headers(), bytes(body[: chance.randrange(len(body))]))
    if kind == 1:
        for _ in range(chance.randrange(1, 20)):
            body[chance.randrange(min(len(body), 300))] = chance.randrange(256)
        return Attack("POST", path, _form_headers(), bytes(body))
    if kind == 2:
        media = chance.choice(
            ("multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'b' * 5000}",
             'multipart/form-data; boundary="', "multipart/mixed; boundary=bnd", "multipart/form-data; boundary=\x01")
        )  # fmt: skip
        return Attack("POST", path, {"Content-Type": media}, bytes(body))
    if kind == 3:
        parts = [(f"f{n}", b"x", chance.random() < 0.5) for n in range(chance.randrange(30, 400))]
        return Attack("POST", path, _form_headers(), _form(parts, {}))
    if kind == 4:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{"../" * 50}x"\r\n'
        junk = "".join(f"X-{n}: {'y' * 50}\r\n" for n in range(chance.randrange(500)))
        return Attack("POST", path, _form_headers(), f"{head}{junk}\r\nx\r\n--{BOUNDARY}--\r\n".encode())
    return Attack("POST", path, _form_headers(), b"\r\n" * chance.randrange(1, 20_000))


def _odd_request(chance: random.Random, faces: list[bytes]) -> Attack:
    odd = "".join(chance.choice("abc/.%0123456789~_-;=@:+") for _ in range(chance.randrange(1, 60)))
    path = chance.choice(
        (
            f"/{odd}",
            f"/v1/{odd}",
            f"/v1/collections/{odd}",
            f"/v1/collections/default/subjects/{odd}",
            f"/v1/collections/default/faces/{odd}",
            f"/v1/models/{odd}",
            f"/v1/models/{odd}/card",
            "/v1/models/..%2f..%2fmanifest/card",
            "/web/..%2fsettings.py",
            "/web/%2e%2e/cli.py",
            "/swagger/..%2f..%2f__init__.py",
            f"/v1/collections?cursor={odd}&limit={chance.choice(('0', '-1', '1e9', 'x', ''))}",
            f"/v1/collections/default/subjects?prefix={odd}%00",
            f"/v1/receipts?limit={odd}",
            "/v1/collections/%00",
            "/v1/collections/%ff%fe",
            f"/v1/collections/{'x' * 3000}",
        )
    )
    method = chance.choice(("GET", "GET", "GET", "DELETE", "PATCH", "PUT", "OPTIONS", "HEAD", "TRACE", "BREW"))
    headers = {
        chance.choice(
            ("X-Request-ID", "Accept", "Content-Type", "Idempotency-Key", "Range", "X-Forwarded-For")
        ): "".join(chance.choice("abc\"'<>{};%\\/ \t") for _ in range(chance.randrange(300))).strip()
    }
    return Attack(method, path, headers, chance.randbytes(20) if chance.random() < 0.2 else b"")


def _odd_key(chance: random.Random, faces: list[bytes]) -> Attack:
    texts = (
        "",
        "Bearer",
        "Bearer ",
        "Basic Og==",
        "Bearer facet_",
        "Bearer " + "x" * 4000,
        "Bearer facet_%s_%s",
        "\\x00",
    )
    path = chance.choice(("/v1/models", "/v1/collections", "/v1/receipts"))
    if chance.random() < 0.3:
        return Attack("GET", f"{path}?{chance.choice(('key', 'token', 'X-API-Key'))}={chance.randrange(10**9)}")
    return Attack("GET", path, {"Authorization": chance.choice(texts)})


KINDS: tuple[Callable[[random.Random, list[bytes]], Attack], ...] = (
    _damaged_image,
    _damaged_image,
    _nasty_fields,
    _broken_json,
    _broken_form,
    _odd_request,
    _odd_key,
)


def _form_headers() -> dict[str, str]:
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def _form(parts: list[tuple[str, bytes, bool]], fields: dict[str, str]) -> bytes:
    every = [*parts, *((name, value.encode(errors="surrogatepass"), False) for name, value in fields.items())]
    body = b""
    for name, data, is_file in every:
        file = b'; filename="f"' if is_file else b""
        head = b'Content-Disposition: form-data; name="' + name.encode(errors="replace") + b'"' + file
        body += b"--" + BOUNDARY.encode() + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n"
    return body + b"--" + BOUNDARY.encode() + b"--\r\n"
