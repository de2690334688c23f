#!/usr/bin/env bash
# The comparison that is published: Millstream and Apache Kafka, both flushing before they acknowledge, and Apache Kafka at its
# default, which does not. Needs a machine that does nothing else for 30 minutes, and about 12 GiB on the disk to measure.
#
#   bench-harness/publish.sh [RESULTS [SCRATCH]]     bench-harness/results and a folder beside it if not said
#
# BENCH_BIN, MILLSTREAM_BIN: the release builds of this tree if not said. RATE: records a second of the paced workload, which a
# machine with two CPUs for broker and load carries; 10000 if not said. SECONDS_EACH: measured in each run; 12 if not said.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bench=${BENCH_BIN:-$root/target/release/millstream-bench}
export MILLSTREAM_BIN=${MILLSTREAM_BIN:-$root/target/release/millstream}
results=${1:-$root/bench-harness/results} scratch=${2:-$root/target/publish}
rate=${RATE:-10000} seconds=${SECONDS_EACH:-12}
mkdir -p "$results" "$scratch" || exit 1
durable=(--target millstream --target kafka)
all=("${durable[@]}" --target kafka,fsync=os,label=kafka-default)
troubles=0

# part NAME COMMAND ...    what fails is told, and the rest goes on: a run that may not be used is part of the truth
part() {
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  "$bench" "$@" || { echo "== $name ended with exit code $?"; troubles=$((troubles + 1)); }
  echo "== $name took $((SECONDS - began)) s"
}

"$bench" target get kafka || exit 1
"$bench" doctor --data-dir "$scratch" | tee "$results/doctor.txt"
part "raw disk" raw disk "$scratch" --sizes 4096,65536 --depths 1,4 --seconds 1 --output "$results/raw-disk.json"
part "raw echo" raw echo --sizes 100,1024 --connections 1,16 --seconds 1 --output "$results/raw-echo.json"
timed=(--duration "${seconds}s" --warm-up 10s --rounds 3 --scratch "$scratch")
part "paced" compare "${all[@]}" --workload paced-1k --rate "$rate" "${timed[@]}" --output "$results/paced"
part "small" compare "${all[@]}" --workload small-100b "${timed[@]}" --output "$results/small"
part "durable" compare "${durable[@]}" --workload durable-single "${timed[@]}" --output "$results/durable"
part "sweep" sweep "${all[@]}" --workload paced-1k --shares 30,60,90 --duration 8s --warm-up 6s --scratch "$scratch" \
  --output "$results/sweep"
part "recovery" recovery "${durable[@]}" --gib 1 --rounds 2 --scratch "$scratch" --output "$results/recovery"
# Without records: what members of groups cost that only say that they are there, and those that commit. With --sets each member
# has a connection of its own, as a consumer has; 10,000 of them, for which `ulimit -Hn` must have room on both sides.
for target in millstream kafka,fsync=os,label=kafka-default; do
  name=${target##*label=}
  with=(--target "$target" --scratch "$scratch")
  part "groups steady: $name" groups steady "${with[@]}" --protocol consumer --groups 1000 --members 10 --sets 1000 \
    --duration 20s --warm-up 30s --output "$results/groups-steady-$name.json"
  part "groups commits: $name" groups commits "${with[@]}" --groups 50 --members 1 --sets 50 \
    --output "$results/groups-commits-$name.json"
done
for page in report.html report.md figures.csv; do
  "$bench" report "$results" "$results"/{paced,small,durable,sweep,recovery} --output "$results/$page" || troubles=$((troubles + 1))
done
"$bench" report "$results/paced" --output "$results/latency.svg" || troubles=$((troubles + 1))
# What brokers said is of no use where every run went well.
find "$results" -name '*.log' -delete
echo "$((SECONDS / 60)) min $((SECONDS % 60)) s, $troubles parts with trouble; the page is $results/report.html"
[ "$troubles" = 0 ]
