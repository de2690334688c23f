"""Record batches collected from Apache Kafka itself, where a file of them is at hand (BATCHES, tab-separated: magic, codec, kind, hex)."""
import os
import pathlib

from session import fetch_body, produce_body

FILE = pathlib.Path(os.environ.get("BATCHES", pathlib.Path(__file__).resolve().parents[4] / ".." / "shared" / "kafka" / "batches" / "batches.tsv"))
KINDS = {"plain": {}, "append": {"message_timestamp_type": "LogAppendTime"}, "compact": {"cleanup_policy": "compact"}, "uncompressed": {"compression_type": "uncompressed"}}
# With a producer id that the file's batches share, a transactional batch needs the coordinator.
LEFT_OUT = ("transactional", "control_commit", "control_abort", "compacted_empty_control_batch")


def appended(b):
    if not FILE.exists():
        return
    with open(FILE, encoding="utf-8") as lines:
        rows = [line.split("\t") for line in list(lines)[1:]]
    for kind, configs in KINDS.items():
        for number, (magic, codec, name, content, *_) in enumerate(rows):
            if any(part in name for part in LEFT_OUT):
                continue
            raw = bytes.fromhex(content)
            if magic == "2" and name not in ("base_offset_and_leader_epoch", "two_batches"):
                raw = bytes(8) + raw[8:]                # A client sends base offset 0; no checksum covers it.
            topic = b.topic(f"{kind}-{number}", **configs)
            b.ask("Produce", 8, produce_body(topic, raw), f"{name} {codec} magic {magic} to {kind}")
            b.ask("Fetch", 11, fetch_body(topic), f"after {name} {codec} magic {magic} to {kind}")
