#!/usr/bin/env bash
# Prints a port that is free, as is the one above it (Apache Kafka's controller takes that).
exec python3 - <<'PYTHON'
import random
import socket

for _ in range(100):
    port = random.randrange(20000, 32000)
    try:
        for place in (port, port + 1):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", place))
        print(port)
        break
    except OSError:
        pass
PYTHON
