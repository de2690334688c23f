"""Kafka messages as dicts, read and written by the schema text alone; knows nothing of Millstream's own codec."""
import base64
import json
import shlex
import struct

INTS = {"int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}
PRIMITIVES = set(INTS) | {"bool", "string", "uuid", "bytes", "records"}
ZERO_ID = "A" * 22


def version_range(text):
    if text in (None, "", "none"):
        return (0, -1)
    if text.endswith("+"):
        return (int(text[:-1]), 32767)
    low, _, high = text.partition("-")
    return (int(low), int(high or low))


def within(bounds, version):
    return bounds[0] <= version <= bounds[1]


class Field:
    def __init__(self, line):
        words = shlex.split(line)
        self.name, self.type = words[0], words[1]
        known = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        self.versions, self.nullable = version_range(known["versions"]), version_range(known.get("nullable"))
        self.tagged, self.tag = version_range(known.get("tagged")), int(known.get("tag", -1))
        self.flexible = version_range(known["flexible"]) if "flexible" in known else None
        self.default = known.get("default")


class Message:
    """One message: `fields`, the structures they name, valid and flexible versions."""

    def __init__(self, block):
        lines = block.rstrip("\n").split("\n")
        head = lines[0].split()
        known = dict(word.split("=", 1) for word in head[2:] if "=" in word)
        self.name, self.key = head[1], int(known["key"]) if "key" in known else None
        self.versions, self.flexible = version_range(known["versions"]), version_range(known["flexible"])
        self.fields, self.structs = [], {}
        stack = [(0, self.fields)]
        for line in lines[1:]:
            depth = (len(line) - len(line.lstrip())) // 2
            while stack[-1][0] >= depth:
                stack.pop()
            if line.split()[0] == "struct":
                stack.append((depth, self.structs.setdefault(line.split()[1], [])))
                continue
            field = Field(line)
            stack[-1][1].append(field)
            inner = field.type.removeprefix("[]")
            if inner not in PRIMITIVES:
                stack.append((depth, self.structs.setdefault(inner, [])))

    def is_flexible(self, version):
        return within(self.flexible, version)

    def encode(self, value, version):
        return self._write(self.fields, value, version, self.is_flexible(version), self.name)

    def decode(self, raw, version):
        cursor = Cursor(raw)
        out = self._read(self.fields, cursor, version, self.is_flexible(version))
        if cursor.at != len(raw):
            raise ValueError(f"{len(raw) - cursor.at} bytes left over")
        return out

    def _write(self, fields, value, version, flexible, where):
        unknown = set(value) - {field.name for field in fields} - {"?"}
        if unknown:
            raise KeyError(f"{where} has no {sorted(unknown)}")
        out, tags = b"", dict(value.get("?", []))
        for field in fields:
            if not within(field.versions, version):
                continue
            if within(field.tagged, version):
                if field.name in value:
                    tags[field.tag] = self._put(field, field.type, value[field.name], version, True, where, True)
            else:
                compact = flexible if field.flexible is None else within(field.flexible, version)
                given = value[field.name] if field.name in value else default(field)
                out += self._put(field, field.type, given, version, compact, where)
        if flexible:
            out += varint(len(tags)) + b"".join(varint(tag) + varint(len(raw)) + raw for tag, raw in sorted(tags.items()))
        return out

    def _put(self, field, kind, value, version, flexible, where, tagged=False):
        where = f"{where}.{field.name}"
        if isinstance(value, Raw):
            return bytes(value)
        if kind.startswith("[]"):
            if value is None:
                return length(-1, flexible, False)
            items = b"".join(self._put(field, kind[2:], item, version, flexible, where) for item in value)
            return length(len(value), flexible, False) + items
        if kind == "bool":
            return bytes([value])
        if kind in INTS:
            return struct.pack(INTS[kind], value)
        if kind == "uuid":
            return base64.urlsafe_b64decode((value or ZERO_ID) + "==")
        if kind in ("string", "bytes", "records"):
            raw = value.encode() if isinstance(value, str) else value
            return length(-1, flexible, kind == "string") if raw is None else length(len(raw), flexible, kind == "string") + raw
        # A nullable structure starts with one byte, or, under a tag, with a length of 0 or 1.
        if within(field.nullable, version) and not field.type.startswith("[]"):
            if value is None:
                return b"\0" if tagged else b"\xff"
            return b"\1" + self._write(self.structs[kind], value, version, flexible, where)
        return self._write(self.structs[kind], value, version, flexible, where)

    def _read(self, fields, cursor, version, flexible):
        out = {}
        for field in fields:
            if within(field.versions, version) and not within(field.tagged, version):
                compact = flexible if field.flexible is None else within(field.flexible, version)
                out[field.name] = self._get(field, field.type, cursor, version, compact)
        if not flexible:
            return out
        for _ in range(cursor.varint()):
            tag, size = cursor.varint(), cursor.varint()
            raw = cursor.take(size)
            field = next((f for f in fields if f.tag == tag and within(f.tagged, version)), None)
            if field is None:
                out.setdefault("?", []).append([tag, raw.hex()])
            else:
                out[field.name] = self._get(field, field.type, Cursor(raw), version, True, True)
        return out

    def _get(self, field, kind, cursor, version, flexible, tagged=False):
        if kind.startswith("[]"):
            count = cursor.length(flexible, False)
            return None if count < 0 else [self._get(field, kind[2:], cursor, version, flexible) for _ in range(count)]
        if kind == "bool":
            return cursor.take(1)[0] != 0
        if kind in INTS:
            return struct.unpack(INTS[kind], cursor.take(struct.calcsize(INTS[kind])))[0]
        if kind == "uuid":
            return base64.urlsafe_b64encode(cursor.take(16)).decode().rstrip("=")
        if kind in ("string", "bytes", "records"):
            size = cursor.length(flexible, kind == "string")
            raw = None if size < 0 else cursor.take(size)
            return raw if kind != "string" or raw is None else raw.decode()
        if within(field.nullable, version) and not field.type.startswith("[]"):
            if (cursor.varint() == 0) if tagged else (cursor.take(1)[0] == 255):
                return None
        return self._read(self.structs[kind], cursor, version, flexible)


class Raw(bytes):
    """Bytes that stand in for a field as they are: for requests that no honest client would send."""


def default(field):
    if field.type.startswith("[]"):
        return None if field.default == "null" else []
    if field.default == "null":
        return None
    if field.type in INTS:
        return int(field.default or "0", 0)
    if field.type == "bool":
        return field.default == "true"
    if field.type == "uuid":
        return ZERO_ID
    if field.type in ("bytes", "records"):
        return b""
    return (field.default or "") if field.type == "string" else {}


class Cursor:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, count):
        if count < 0 or self.at + count > len(self.raw):
            raise ValueError("the answer is too short")
        self.at += count
        return self.raw[self.at - count:self.at]

    def varint(self):
        out = shift = 0
        while True:
            byte = self.take(1)[0]
            out |= (byte & 127) << shift
            if byte < 128:
                return out
            shift += 7

    def length(self, flexible, short):
        if flexible:
            return self.varint() - 1
        return struct.unpack(">h" if short else ">i", self.take(2 if short else 4))[0]


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number):
    return varint(((number << 1) ^ (number >> 63)) & 0xFFFFFFFFFFFFFFFF)


def length(count, flexible, short):
    return varint(count + 1) if flexible else struct.pack(">h" if short else ">i", count)


def load(folder):
    """All requests and responses of schemas/protocol.txt, by name."""
    with open(f"{folder}/protocol.txt", encoding="utf-8") as file:
        messages = [Message(block) for block in file.read().split("\n\n") if block.strip()]
    return {message.name: message for message in messages}


def printable(value):
    return json.dumps(value, default=lambda raw: f"{len(raw)} bytes {bytes(raw[:80]).hex()}", ensure_ascii=False)
