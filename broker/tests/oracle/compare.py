#!/usr/bin/env python3
"""Asks two brokers the same and shows where their answers differ.

usage: compare.py ORACLE_HOST:PORT BROKER_HOST:PORT [case pattern ...]      (run.sh starts both)
       compare.py --settings [case pattern ...]      the settings that brokers are started with for these cases, a line for each run; the empty line is the ordinary run

Cases are the functions of cases/*.py (those without a leading underscore). A file that says SETTINGS is for brokers that were started with these; the environment's SETTINGS says how these were.
What may differ, and why, is differences.tsv. A row there that no run needs any more is a failure, too. Ends with `N passed, M failed`, a check being one request with its answer."""
import collections
import concurrent.futures
import fnmatch
import importlib
import inspect
import json
import os
import pathlib
import re
import sys
import time
import traceback

import codec
from session import Session
from wire import Wire

HERE = pathlib.Path(__file__).resolve().parent
SHOWN = int(os.environ.get("SHOWN", "60"))              # Steps shown in full; the rest appear in the digest only.


class Broker:
    def __init__(self, address, schemas):
        self.address, self.schemas = address, schemas
        wire = Wire(address, schemas)
        wire.request("Metadata", 1, {"Topics": []})
        answer = wire.answer("Metadata", 1)
        wire.close()
        if isinstance(answer, str):
            raise SystemExit(f"{address}: Metadata v1: {answer}")
        self.node_id = answer["Brokers"][0]["NodeId"]


class Difference:
    """A row of differences.tsv: which answers may differ, where, and why. `*` stands for anything, also in the middle."""

    def __init__(self, line):
        self.case, self.step, self.path, self.why = line.rstrip("\n").split("\t")
        self.hits = 0

    def covers(self, case, step, path):
        hit = all(fnmatch.fnmatchcase(text, pattern) for text, pattern in ((case, self.case), (step, self.step), (path, self.path)))
        self.hits += hit
        return hit


def differing(a, b, path=""):
    """Paths at which two answers differ, with both sides; list indexes are written as `.3.` so that patterns read well."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted(set(a) | set(b), key=str):
            yield from differing(a.get(name, "(absent)"), b.get(name, "(absent)"), f"{path}.{name}".lstrip("."))
    elif isinstance(a, list) and isinstance(b, list):
        named = named_items(a, b)
        if named:
            for name in sorted(set(named[0]) | set(named[1])):
                yield from differing(named[0].get(name, "(absent)"), named[1].get(name, "(absent)"), f"{path}.{name}")
            return
        (a, left), (b, right) = without_piece(a), without_piece(b)
        if left != right:
            yield f"{path}.left over", left, right
        if len(a) != len(b):
            yield f"{path}.length", len(a), len(b)
        for at, (left, right) in enumerate(zip(a, b)):
            yield from differing(left, right, f"{path}.{at}")
    elif a != b and not (a is None and isinstance(b, str) and path.endswith("Message")):
        # An explanation where Kafka gives none breaks no client.
        yield path, a, b


def named_items(a, b):
    """Lists of configs, APIs and features are compared by name, so that one entry more is one difference."""
    for key in ("ApiKey", "Name", "ConfigName"):
        if all(isinstance(item, dict) and key in item for item in a + b) and a + b:
            left, right = ({str(item[key]): item for item in side} for side in (a, b))
            return (left, right) if len(left) == len(a) and len(right) == len(b) else None
    return None


def without_piece(items):
    """Record data without the bytes behind its last whole batch, and how many those are."""
    cut = bool(items) and isinstance(items[-1], dict) and "left over" in items[-1]
    return (items[:-1], items[-1]["left over"]) if cut else (items, 0)


def gist(path):
    """A path without indexes and without topics' names."""
    return re.sub(r"\.\d+(?=\.|$)", "", re.sub(r"^(Topics|Responses)\.[^.]+\.", r"\1.", path))


def run(function, broker, prefix):
    session = Session(broker, prefix)
    try:
        function(session)
    except Exception:                                   # The case goes on to be compared: a broken step is a difference.
        session.record("the case itself", "", traceback.format_exc(limit=-2))
    finally:
        session.finish()
    return session.steps


def compare(case, ours, theirs, allowed):
    """Per step: (label, what was asked, differences not allowed, both answers)."""
    for at in range(max(len(ours), len(theirs))):
        if at >= len(ours) or at >= len(theirs):
            yield "number of steps", "", [("", len(theirs), len(ours))], None, None
            return
        (label, asked, answer), (_, _, wanted) = ours[at], theirs[at]
        broken = label == "the case itself"
        found = [row for row in differing(wanted, answer) if not any(d.covers(case, label, row[0]) for d in allowed)]
        if broken and not found:
            found = [("", wanted, answer)]
        yield label, asked, found, wanted, answer


def run_both(function, brokers, prefix, at_once):
    """What waits for minutes waits for both brokers at once."""
    if not at_once:
        return [run(function, broker, prefix) for broker in brokers]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        return list(threads.map(lambda broker: run(function, broker, prefix), brokers))


def cases(patterns):
    """Name, function and settings of each."""
    for path in sorted(HERE.glob("cases/*.py")):
        module = importlib.import_module(f"cases.{path.stem}")
        public = [item for item in vars(module).values() if inspect.isfunction(item) and item.__module__ == module.__name__]
        for function in public:
            if function.__name__.startswith("_"):
                continue
            name = f"{path.stem}/{function.__name__}"
            if not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                yield name, function, getattr(module, "SETTINGS", "")


def main():
    if sys.argv[1] == "--settings":
        print("\n".join(sorted({settings for _, _, settings in cases(sys.argv[2:])})))
        return
    schemas = codec.load(os.environ.get("SCHEMAS", HERE.parents[2] / "protocol" / "schemas"))
    oracle, broker = Broker(sys.argv[1], schemas), Broker(sys.argv[2], schemas)
    patterns = sys.argv[3:]
    file = os.environ.get("DIFFERENCES", HERE / "differences.tsv")
    with open(file, encoding="utf-8") as lines:
        allowed = [Difference(line) for line in list(lines)[1:] if line.strip()]
    passed = failed = 0
    digest = collections.Counter()
    examples = {}
    stamp = format(int(time.time()) & 0xFFFFFF, "x")
    settings = os.environ.get("SETTINGS", "")
    chosen = [(name, function) for name, function, needed in cases(patterns) if needed == settings]
    for number, (name, function) in enumerate(chosen):
        prefix, started = f"o{stamp}-{number}-", time.monotonic()
        theirs, ours = run_both(function, (oracle, broker), prefix, bool(settings))
        good = bad = 0
        for label, asked, found, wanted, answer in compare(name, ours, theirs, allowed):
            good, bad = good + (not found), bad + bool(found)
            for path, left, right in found:
                group = (label.split()[0], gist(path), json.dumps(left)[:60], json.dumps(right)[:60])
                digest[group] += 1
                examples.setdefault(group, f"{name}: {label}")
            if found and failed + bad <= SHOWN:
                show(name, label, asked, found, wanted, answer)
        passed, failed = passed + good, failed + bad
        print(f"{'ok  ' if not bad else 'FAIL'} {name}: {good} of {good + bad} ({time.monotonic() - started:.1f} s)", flush=True)
    if not patterns:
        elsewhere = [name for name, _, needed in cases([]) if needed != settings]
        judged = [row for row in allowed if not any(fnmatch.fnmatchcase(name, row.case) for name in elsewhere)]
        for row in [row for row in judged if not row.hits and not os.environ.get("DIFFERENCES")]:
            failed += 1
            print(f"FAIL differences.tsv: nothing differs any more here, take it out: {row.case} {row.step} {row.path}")
    for (api, path, left, right), count in digest.most_common(int(os.environ.get("DIGEST", "60"))):
        print(f"{count:5} x {api} {path or '(all)'}: Kafka {left}, here {right}    e.g. {examples[api, path, left, right]}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


def show(case, label, asked, found, wanted, answer):
    print(f"--- {case}: {label}\n    asked {asked[:1500]}")
    for path, left, right in found[:12]:
        print(f"    {path or '(all)'}: Kafka {json.dumps(left)[:600]}, here {json.dumps(right)[:600]}")
    if len(found) > 12:
        print(f"    and {len(found) - 12} more")
    for who, whole in (("Kafka", wanted), ("here ", answer)):
        text = json.dumps(whole)
        print(f"    {who} {text if len(text) < 900 else text[:600] + ' ...'}")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
