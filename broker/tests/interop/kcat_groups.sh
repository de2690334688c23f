#!/usr/bin/env bash
# kcat's balanced consumer, as Debian ships it.   kcat_groups.sh HOST:PORT
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"
client=kcat-groups address=$1
scratch=$(mktemp -d)
pids=()
trap 'kill -9 "${pids[@]}" 2> /dev/null; rm -rf "$scratch"' EXIT
topic=kcat-groups-$$-$(date +%s) group=kcat-groups-$$

# Lines FROM to TO, spread over four partitions by their keys.
produce() { seq "$1" "$2" | sed 's/.*/&\t&/' | kcat -P -b "$address" -t "$topic" -K '\t' -X allow.auto.create.topics=true -X enable.idempotence=true; }

member() {
  kcat -G "$group" -b "$address" -u -X auto.offset.reset=earliest -X session.timeout.ms=6000 -X heartbeat.interval.ms=300 -X auto.commit.interval.ms=100 -X topic.metadata.refresh.interval.ms=500 \
    -f '%s\n' "$topic" >> "$scratch/$1" 2>> "$scratch/$1.errors" &
  pids+=($!)
  eval "$1=$!"
}

# Waits until a member's latest assignment has so many partitions.
owns() { within 90 test_owns "$@"; }
test_owns() { [ "$(grep -o 'assigned: .*' "$scratch/$1.errors" | tail -1 | grep -o '\[[0-9]*\]' | wc -l)" = "$2" ]; }

within() {
  local until=$(($(date +%s) + $1))
  shift
  until "$@"; do
    [ "$(date +%s)" -lt "$until" ] || { echo "waited in vain: $*"; tail -n 3 "$scratch"/*.errors; return 1; }
    sleep 0.1
  done
}

# Every line up to TO was read by some member.
read_to() { within 90 test_read_to "$1"; }
test_read_to() { cmp -s <(cat "$scratch"/{one,two,three} 2> /dev/null | sort -nu) <(seq "$1"); }

alone() {
  # Four partitions, however many the broker makes by itself.
  "$here/kafka.sh" tool org.apache.kafka.tools.TopicCommand --create --topic "$topic" --partitions 4 --bootstrap-server "$address" > /dev/null || return 1
  produce 1 200 && member one && owns one 4 && read_to 200
}

joined() { member two && owns one 2 && owns two 2 && produce 201 400 && read_to 400; }

killed() {
  kill -9 "$two"
  wait "$two" 2> /dev/null
  produce 401 600 && owns one 4 && read_to 600
}

resumed() {
  kill -TERM "$one" && wait "$one"
  produce 601 650 && member three && owns three 4 && read_to 650 || return 1
  kill -TERM "$three" && wait "$three"
  # What was committed when the first one left is not read again.
  sort -n "$scratch/three" > "$scratch/found" && seq 601 650 > "$scratch/wanted" && same "$scratch/found" "$scratch/wanted"
}

check "a member alone" alone
check "a second one shares" joined
check "one is killed, the other takes over" killed
check "a restart resumes where the last one left" resumed
exit $((failed > 0))
