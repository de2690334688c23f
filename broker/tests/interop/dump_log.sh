#!/usr/bin/env bash
# Apache Kafka's DumpLogSegments over the data directory of a stopped broker.   dump_log.sh DIR
#
# The tool exits 0 whatever it finds, so its output is read: every batch valid, offsets following each other (compacted topics
# aside, named by COMPACTED, a pattern), indexes that agree with their log, files that open.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"
client=dump-log
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$1" || exit 2

dump() { "$here/kafka.sh" tool org.apache.kafka.tools.DumpLogSegments "$@" > "$scratch/out" 2>&1; }
# Non-empty files of live partitions by the end of their name, as the tool wants them.
files() { find . -type f -path './*-[0-9]*/*' -name "*$1" -size +0 ! -path '*-delete/*' ! -path '*.delete/*' | sort; }
joined() { files "$1" | paste -sd, -; }
quiet() { ! grep -nE -m5 "$1" "$scratch/out"; }
broken='Exception|Error|Could not|Found invalid|invalid bytes|Mismatches in|mismatch|out of order|not valid'

segments() {
  [ -n "$(files .log)" ] || { echo "no segment holds anything"; return 1; }
  # Folders of the metadata log have another record format inside; batches are the same.
  dump --deep-iteration --files "$(joined .log)" || return 1
  [ "$(grep -c '^Dumping ' "$scratch/out")" = "$(files .log | wc -l)" ] || { echo "not every segment was dumped"; return 1; }
  quiet 'isvalid: false' && quiet "$broken" && consecutive
}

# "-1 is followed by N" is what the tool says of every segment that does not start at 0.
consecutive() {
  awk -v compacted="${COMPACTED:-^$}" '/^Non-consecutive offsets in/ {file = $4; next} / is followed by / && !/^ *-1 / && file !~ compacted {print file ": " $0; bad = 1} END {exit bad}' "$scratch/out"
}

counted() {
  dump --files "$(joined .log)" || return 1
  awk '/ count: / {for (at = 1; at < NF; at++) if ($at == "count:") {batches++; records += $(at + 1)}} END {print batches " batches, " records " records"; exit records == 0}' "$scratch/out"
}

offset_indexes() {
  [ -z "$(files .index)" ] && return
  dump --verify-index-only --files "$(joined .index)" && quiet "$broken" &&
    dump --index-sanity-check --files "$(joined .index)" && quiet "$broken" && [ "$(grep -c 'passed sanity check' "$scratch/out")" = "$(files .index | wc -l)" ] || { tail -5 "$scratch/out"; return 1; }
}

time_indexes() {
  [ -z "$(files .timeindex)" ] && return
  dump --files "$(joined .timeindex)" && quiet "$broken" &&
    dump --index-sanity-check --files "$(joined .timeindex)" && quiet "$broken" && [ "$(grep -c 'passed sanity check' "$scratch/out")" = "$(files .timeindex | wc -l)" ] || { tail -5 "$scratch/out"; return 1; }
}

others() {
  local list
  list=$( (files .snapshot; files .txnindex) | paste -sd, -)
  [ -z "$list" ] && return
  dump --files "$list" && quiet "$broken"
}

checkpoints() {
  # Version 0, the number of entries, then as many lines of epoch and first offset, both rising.
  files /leader-epoch-checkpoint | while read -r file; do
    awk 'NR == 1 && $1 != 0 {exit 1} NR == 2 {count = $1} NR > 2 {if (NF != 2 || $1 <= epoch && NR > 3 || $2 < start) exit 1; epoch = $1; start = $2} END {if (NR != count + 2) exit 1}' "$file" || { echo "$file"; cat "$file"; exit 1; }
  done && files /partition.metadata | while read -r file; do
    grep -q '^version: 0$' "$file" && grep -qE '^topic_id: [A-Za-z0-9_-]{22}$' "$file" || { echo "$file"; exit 1; }
  done
}

check "every batch of every segment" segments
check "batches and records are counted" counted
check "offset indexes agree with their logs" offset_indexes
check "time indexes agree with their logs" time_indexes
check "snapshots and transaction indexes open" others
check "checkpoints and partition metadata" checkpoints
exit $((failed > 0))
