"""Record batches, right and wrong on purpose, and a view of the ones that come back. Standard library only: lz4 and zstd frames hold
stored blocks, which every decoder must read."""
import gzip
import struct
import zlib

from codec import Cursor, varint, zigzag

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HEADER = struct.Struct(">qiibIhiqqqhii")
FIELDS = ("base_offset", "length", "leader_epoch", "magic", "crc", "attributes", "last_offset_delta", "base_timestamp",
          "max_timestamp", "producer_id", "producer_epoch", "base_sequence", "count")


def _table():
    out = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        out.append(byte)
    return out


TABLE = _table()


def crc32c(raw):
    crc = 0xFFFFFFFF
    for byte in raw:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def record(key=b"k", value=b"v", headers=(), timestamp_delta=0, offset_delta=0, attributes=0):
    def sized(raw):
        return zigzag(-1) if raw is None else zigzag(len(raw)) + raw
    body = bytes([attributes]) + zigzag(timestamp_delta) + zigzag(offset_delta) + sized(key) + sized(value) + zigzag(len(headers))
    for name, content in headers:
        body += sized(name) + sized(content)
    return zigzag(len(body)) + body


def records(*pairs, **kwargs):
    """Records with rising offsets and timestamps from (key, value) pairs."""
    return [record(key, value, offset_delta=at, timestamp_delta=at, **kwargs) for at, (key, value) in enumerate(pairs)]


def batch(items=None, codec="none", base_timestamp=1_700_000_000_000, flags=0, body=None, **wrong):
    """A batch of encoded records. `wrong` overrides any header field; `crc=None` (the default) is computed last."""
    items = records((b"key", b"value")) if items is None else items
    body = compress(codec, b"".join(items)) if body is None else body
    count = len(items)
    values = dict(base_offset=0, length=HEADER.size - 12 + len(body), leader_epoch=-1, magic=2, crc=None,
                  attributes=CODECS[codec] | flags, last_offset_delta=count - 1, base_timestamp=base_timestamp,
                  max_timestamp=base_timestamp + max(count - 1, 0), producer_id=-1, producer_epoch=-1, base_sequence=-1, count=count)
    values.update(wrong)
    crc, values["crc"] = values["crc"], 0
    raw = HEADER.pack(*(values[name] for name in FIELDS)) + body
    crc = crc32c(raw[21:]) if crc is None else crc
    return raw[:17] + struct.pack(">I", crc) + raw[21:]


def idempotent(producer_id, epoch, sequence, count=1, **more):
    items = records(*[(b"k%d" % at, b"v%d" % (sequence + at)) for at in range(count)])
    return batch(items, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, **more)


def message_set(magic, value=b"old"):
    """One message of the formats before batches."""
    body = bytes([magic, 0]) + (struct.pack(">q", 1_700_000_000_000) if magic else b"") + struct.pack(">i", -1) + struct.pack(">i", len(value)) + value
    return struct.pack(">qiI", 0, len(body) + 4, zlib.crc32(body)) + body


def compress(codec, raw):
    if codec == "gzip":
        return gzip.compress(raw, mtime=0)
    if codec == "snappy":
        literal = varint(len(raw)) + _snappy_literals(raw)
        return b"\x82SNAPPY\0" + struct.pack(">iii", 1, 1, len(literal)) + literal
    if codec == "lz4":
        head = b"\x60\x40"
        blocks = (raw[at:at + 65536] for at in range(0, len(raw), 65536))
        stored = b"".join(struct.pack("<I", len(block) | 0x80000000) + block for block in blocks)
        return b"\x04\x22\x4d\x18" + head + bytes([xxh32(head) >> 8 & 255]) + stored + bytes(4)
    if codec == "zstd":
        out = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(raw))
        blocks = [raw[at:at + 131072] for at in range(0, len(raw), 131072)] or [b""]
        for at, block in enumerate(blocks):
            out += struct.pack("<I", len(block) << 3 | (at == len(blocks) - 1))[:3] + block
        return out
    return raw


def _snappy_literals(raw):
    out = b""
    for at in range(0, len(raw), 60):
        part = raw[at:at + 60]
        out += bytes([(len(part) - 1) << 2]) + part
    return out


def xxh32(raw):
    """xxHash32 of fewer than 16 bytes, seed 0."""
    mask, acc = 0xFFFFFFFF, (0x165667B1 + len(raw)) & 0xFFFFFFFF
    for byte in raw:
        acc = (acc + byte * 0x165667B1) & mask
        acc = ((acc << 11 | acc >> 21) & mask) * 0x9E3779B1 & mask
    acc = (acc ^ acc >> 15) * 0x85EBCA77 & mask
    acc = (acc ^ acc >> 13) * 0xC2B2AE3D & mask
    return acc ^ acc >> 16


def view(raw):
    """What a client can tell of returned record data: batches with their fields; whether the CRC holds; bytes left over."""
    out, at = [], 0
    while at + HEADER.size <= len(raw):
        head = dict(zip(FIELDS, HEADER.unpack_from(raw, at)))
        end = at + 12 + head["length"]
        if head["magic"] != 2 or end > len(raw):
            break
        head["crc"] = "right" if crc32c(raw[at + 21:end]) == head["crc"] else "WRONG"
        body = raw[at + HEADER.size:end]
        if head["attributes"] & 7 == CODECS["gzip"]:
            # Two deflaters seldom agree on bytes; what counts is what comes out.
            body, head["length"] = gzip.decompress(body), "(compressed)"
        head["records"] = body.hex() if len(body) < 300 else f"{len(body)} bytes, crc {zlib.crc32(body)}"
        out.append(head)
        at = end
    if at < len(raw):
        out.append({"left over": len(raw) - at})
    return out


def parse_records(body):
    """Decoded (key, value, headers) of an uncompressed body."""
    cursor, out = Cursor(body), []

    def number():
        n = cursor.varint()
        return n >> 1 ^ -(n & 1)

    def sized():
        n = number()
        return None if n < 0 else cursor.take(n)

    while cursor.at < len(body):
        number()
        cursor.take(1)
        number(), number()
        key, value = sized(), sized()
        out.append((key, value, [(sized(), sized()) for _ in range(number())]))
    return out
