"""Sound files of each kind, different at every call, and files that are something else."""

from __future__ import annotations

import io
import secrets
import string
import struct
import tarfile
import zipfile
import zlib

PNG, JPEG, PDF, TEXT = "image/png", "image/jpeg", "application/pdf", "text/plain"


def word(length: int = 12) -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(length))


def text(size: int = 200) -> bytes:
    """Plain ASCII lines of exactly `size` bytes."""
    line = f"{word()} {word()}\r\n\t{word()}\n"
    return (line * (size // len(line) + 1))[:size].encode()


def wide_text(size: int) -> bytes:
    """Characters of three bytes only: a cut at a power of two, or of ten, lies inside one."""
    line = "".join(secrets.choice("語文字書漢") for _ in range(50))
    return (line * (size // 150 + 1))[: size // 3].encode()


def png() -> bytes:
    """A grey picture of one row."""
    row = b"\0" + secrets.token_bytes(24)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 24, 1, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg() -> bytes:
    """One grey pixel, baseline, with a comment."""

    def segment(marker: int, data: bytes) -> bytes:
        return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data

    one_code = bytes((1, *[0] * 15, 0))
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xE0, b"JFIF\0\x01\x01\0\0\x48\0\x48\0\0"),
            segment(0xFE, word().encode()),
            segment(0xDB, b"\0" + b"\x10" * 64),
            segment(0xC0, b"\x08\0\x01\0\x01\x01\x01\x11\0"),
            segment(0xC4, b"\0" + one_code),
            segment(0xC4, b"\x10" + one_code),
            segment(0xDA, b"\x01\x01\0\0\x3f\0"),
            b"\x3f\xff\xd9",
        )
    )


def pdf(*, ascii_only: bool = False) -> bytes:
    """One empty page. With `ascii_only` it is UTF-8 text as well."""
    made = bytearray(b"%PDF-1.4\n" if ascii_only else b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
        b"<< /Title (" + word().encode() + b") >>",
    )
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(made)
    made += b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"trailer\n<< /Size 5 /Root 1 0 R /Info 4 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(made)


def allowed() -> dict[str, bytes]:
    """One file for each media type."""
    return {PNG: png(), JPEG: jpeg(), PDF: pdf(), TEXT: text()}


def html() -> bytes:
    return f"<!doctype html><html><body>{word()}<script>alert(1)</script></body></html>".encode()


def svg() -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg"><script>alert("{word()}")</script></svg>'.encode()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", text())
    return buffer.getvalue()


def tar() -> bytes:
    """An archive of ASCII files: every byte of it is valid UTF-8."""
    buffer = io.BytesIO()
    content = text()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def foreign() -> dict[str, bytes]:
    """Files of types that are not allowed."""
    return {
        "elf": b"\x7fELF\x02\x01\x01\0" + secrets.token_bytes(200) + b"\xff\xfe",
        "zip": zipped(),
        "gif": b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0;",
        "utf-16": "\ufeff".encode("utf-16-le") + word().encode("utf-16-le"),
        "latin-1": f"caf\u00e9 {word()}".encode("latin-1"),
        "random": b"\x80\x81\xfe\xff" + secrets.token_bytes(300),
    }


def foreign_without_high_bytes() -> dict[str, bytes]:
    """Binary files that a UTF-8 decoder takes."""
    return {
        "tar": tar(),
        "wasm": b"\0asm\x01\0\0\0",
        "utf-16 without a byte order mark": word(40).encode("utf-16-le"),
    }
