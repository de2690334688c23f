"""Looks whether the results of a comparison are whole.   check.py FOLDER TARGET ..."""

import json
import pathlib
import sys

folder, targets = pathlib.Path(sys.argv[1]), sys.argv[2:]
passed, failed = 0, 0


def check(what, holds, found=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"FAIL {what} {found}")


comparison = json.loads((folder / "comparison.json").read_text())
check("the comparison is complete", comparison["complete"])
check("the targets are those asked for", [target["name"] for target in comparison["targets"]] == targets)
check("each round has a run of each target", len(comparison["runs"]) == comparison["rounds"] * len(targets))
check("there is a table", (folder / "comparison.md").read_text().count("\n|") > 10)
check("no data is left", not (folder / "scratch").exists())
for run in comparison["runs"]:
    name = f"round {run['round']} of {run['target']}"
    check(f"{name} has a result", run["file"] is not None, run["trouble"])
    if run["file"] is None:
        continue
    result = json.loads((folder / run["file"]).read_text())
    records, broker = result["records"], result["broker"]
    due = result["workload"]["produce"]["rate"] * result["workload"]["duration_s"]
    # Invalid is what a busy machine makes of a run; its records are accounted for all the same.
    check(f"{name} came to its end", result["outcome"]["kind"] in ("valid", "invalid"), result["outcome"])
    check(f"{name} sent what was due", records["sent"] >= due, records)
    check(f"{name} has everything acknowledged", records["acked"] == records["sent"] and records["failed"] == 0, records)
    check(f"{name} has everything delivered", records["delivered"] == records["acked"], records)
    for fault in ("lost", "duplicated", "reordered", "corrupted"):
        check(f"{name} has nothing {fault}", records[fault] == 0, records)
    latency = result["latency"] or {}
    for kind in ("ack", "end_to_end"):
        times = latency.get(kind) or {"count": 0}
        ordered = times["count"] > 0 and 0 < times["p50_us"] <= times["p99_us"] <= times["max_us"]
        check(f"{name} has {kind} latencies", ordered, times)
    check(f"{name} knows what it cost", broker and broker["user_s"] + broker["system_s"] > 0, broker)
    check(f"{name} knows its broker", result["target"]["version"] and result["target"]["pid"], result["target"])
    check(f"{name} knows its machine", bool(result["machine"]))
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
