#!/usr/bin/env bash
# kcat, as Debian ships it.   kcat.sh HOST:PORT
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"
client=kcat address=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
topic=kcat-$$-$(date +%s)
producing=(kcat -P -b "$address" -X allow.auto.create.topics=true)
reading=(kcat -C -q -b "$address" -X enable.auto.commit=false)

python3 - > "$scratch/lines" <<'PYTHON'
for at in range(500):
    print(f"key-{at}\tvalue {at} \u00e9\u20ac\U0001f600 " + "x" * (at % 90))
PYTHON

metadata() { kcat -L -b "$address" > "$scratch/out" && grep -q '^ [0-9]* brokers:' "$scratch/out"; }

round_trip() {
  local codec=$1 name=$topic-$1
  "${producing[@]}" -t "$name" -p 0 -K '\t' -z "$codec" -l "$scratch/lines" || return 1
  "${reading[@]}" -t "$name" -p 0 -o beginning -e -K '\t' > "$scratch/out" && same "$scratch/out" "$scratch/lines"
}

headers_and_nulls() {
  local name=$topic-headers
  printf 'k1\tv1\nk2\t\n' | "${producing[@]}" -t "$name" -p 0 -K '\t' -Z -H a=1 -H a=2 -H b= || return 1
  "${reading[@]}" -t "$name" -p 0 -o beginning -e -f '%k %S %h\n' > "$scratch/out"
  printf 'k1 2 a=1,a=2,b=\nk2 -1 a=1,a=2,b=\n' > "$scratch/wanted"
  same "$scratch/out" "$scratch/wanted"
}

from_an_offset() {
  "${reading[@]}" -t "$topic-none" -p 0 -o 490 -e -K '\t' > "$scratch/out" && tail -10 "$scratch/lines" > "$scratch/wanted" && same "$scratch/out" "$scratch/wanted"
}

from_the_tail() {
  "${reading[@]}" -t "$topic-none" -p 0 -o -3 -e -K '\t' > "$scratch/out" && tail -3 "$scratch/lines" > "$scratch/wanted" && same "$scratch/out" "$scratch/wanted"
}

from_a_timestamp() {
  local name=$topic-time middle
  "${producing[@]}" -t "$name" -p 0 <<< one && sleep 1.2 && middle=$(date +%s%3N) && sleep 0.2 && "${producing[@]}" -t "$name" -p 0 <<< two || return 1
  "${reading[@]}" -t "$name" -p 0 -o "s@$middle" -e > "$scratch/out" && echo two > "$scratch/wanted" && same "$scratch/out" "$scratch/wanted" &&
    kcat -Q -b "$address" -t "$name:0:$middle" > "$scratch/out" && grep -q "offset 1" "$scratch/out"
}

large() {
  head -c 700000 /dev/urandom | base64 -w 0 > "$scratch/large" && echo >> "$scratch/large"
  "${producing[@]}" -t "$topic-large" -p 0 -X message.max.bytes=2000000 -l "$scratch/large" &&
    "${reading[@]}" -t "$topic-large" -p 0 -o beginning -e > "$scratch/out" && same "$scratch/out" "$scratch/large"
}

check "metadata" metadata
for codec in none gzip snappy lz4 zstd; do check "500 keyed lines, $codec" round_trip $codec; done
check "headers and null values" headers_and_nulls
check "read from an offset" from_an_offset
check "read from the tail" from_the_tail
check "read from a timestamp" from_a_timestamp
check "a record of nearly 1 MiB" large
exit $((failed > 0))
