#!/usr/bin/env bash
# The broker under test.   broker.sh start DIR PORT [key=value ...]    prints its pid when it answers; DIR is kept, so that a second start is a restart
# MILLSTREAM_BIN is the binary; MILLSTREAM_ARGS are further arguments of `start`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${MILLSTREAM_BIN:?names the binary to test}"
[ "${1:-}" = start ] || { echo "usage: broker.sh start DIR PORT [key=value ...]" >&2; exit 2; }
dir=$2 port=$3 settings=()
shift 3
for setting in "$@"; do settings+=(--set "$setting"); done
mkdir -p "$dir"
# A killed broker's socket may outlive it by some milliseconds; the broker waits for its port too.
for try in $(seq 200); do
  (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || break
  [ "$try" -lt 200 ] || { echo "port $port is taken" >&2; exit 2; }
  sleep 0.05
done
# Variables that start with MILLSTREAM_ are settings to the broker.
# shellcheck disable=SC2086
nohup env -u MILLSTREAM_BIN -u MILLSTREAM_ARGS "$MILLSTREAM_BIN" start --dev --listen "127.0.0.1:$port" --data-dir "$dir/data" "${settings[@]}" ${MILLSTREAM_ARGS:-} >> "$dir/server.log" 2>&1 < /dev/null &
pid=$!
"$here/answers.sh" "127.0.0.1:$port" 30 "$pid" || { tail -20 "$dir/server.log" >&2; exit 2; }
echo "$pid"
