"""A connection to a broker, byte by byte: what goes out, what comes back, and whether it hangs up."""
import socket
import struct

CLOSED, SILENT = "(the connection is closed)", "(no answer)"


class Wire:
    def __init__(self, address, schemas, patience=10.0):
        host, port = address.rsplit(":", 1)
        self.schemas, self.correlation = schemas, 0
        self.socket = socket.create_connection((host, int(port)), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(patience)

    def close(self):
        self.socket.close()

    def send(self, raw):
        """Bytes as they are, no length in front."""
        try:
            self.socket.sendall(raw)
        except OSError:
            pass                                        # The answer, or its absence, tells.

    def send_frame(self, raw):
        self.send(struct.pack(">i", len(raw)) + raw)

    def header(self, key, version, flexible, client="oracle"):
        self.correlation += 1
        raw = None if client is None else client.encode()
        text = struct.pack(">h", -1) if raw is None else struct.pack(">h", len(raw)) + raw
        return struct.pack(">hhi", key, version, self.correlation) + text + (b"\0" if flexible else b"")

    def receive(self, patience=None):
        """One frame after its correlation id, as (correlation id, bytes), or how the wait ended."""
        if patience is not None:
            self.socket.settimeout(patience)
        try:
            head = self._exactly(4)
            raw = head and self._exactly(struct.unpack(">i", head)[0])
        except TimeoutError:
            return SILENT
        except OSError:
            return CLOSED
        return (struct.unpack_from(">i", raw)[0], raw[4:]) if raw else CLOSED

    def _exactly(self, count):
        out = bytearray()
        while len(out) < count:
            part = self.socket.recv(min(count - len(out), 1 << 20))
            if not part:
                return None
            out += part
        return bytes(out)

    def request(self, name, version, body, client="oracle", extra=b"", as_version=None):
        """Sends a request by its schema. `as_version` writes the body in one version and claims another."""
        message = self.schemas[name + "Request"]
        written = version if as_version is None else as_version
        raw = body if isinstance(body, bytes) else message.encode(body, written)
        self.send_frame(self.header(message.key, version, message.is_flexible(version), client) + raw + extra)
        return self.correlation

    def answer(self, name, version, patience=None):
        got = self.receive(patience)
        if isinstance(got, str):
            return got
        correlation, raw = got
        message = self.schemas[name + "Response"]
        # ApiVersions never has a flexible header: a client that does not know us yet must be able to read it.
        tags = message.is_flexible(version) and name != "ApiVersions"
        if correlation != self.correlation:
            return f"(correlation {correlation}, {self.correlation} was asked)"
        try:
            return message.decode(raw[1:] if tags else raw, version)
        except (ValueError, UnicodeDecodeError, IndexError) as error:
            return f"(undecodable: {error}; {raw[:200].hex()})"
