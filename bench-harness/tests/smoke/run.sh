#!/usr/bin/env bash
# Compares Millstream with Apache Kafka for half a minute and looks whether the results are whole and no record was lost.
# Who is faster is no matter here: this machine may be doing anything else meanwhile.
#
# BENCH_BIN       millstream-bench; the release build if not said
# MILLSTREAM_BIN  the broker; the release build if not said
# Needs Java 17, and Maven or curl the first time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
bench=${BENCH_BIN:-$root/target/release/millstream-bench}
export MILLSTREAM_BIN=${MILLSTREAM_BIN:-$root/target/release/millstream}
mkdir -p "$root/target/smoke"
output=$(mktemp -d "$root/target/smoke/XXXXXX")
trap 'rm -rf "$output"' EXIT

"$bench" target get kafka
# Exit code 1 may say that this machine was too busy for the schedule to be kept: the results tell.
status=0
"$bench" compare --target millstream --target kafka,fsync=os --workload "$here/workload.toml" --rounds 2 --settle 0s \
  --output "$output" || status=$?
[ "$status" -le 1 ] || { echo "compare ended with exit code $status"; exit 1; }
python3 "$here/check.py" "$output" millstream kafka
