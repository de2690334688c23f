#!/usr/bin/env bash
# Compares a broker's answers with Apache Kafka's.   run.sh [case pattern ...]
#
# BOOTSTRAP     a running broker to judge; otherwise MILLSTREAM_BIN is started
# ORACLE        a running Apache Kafka to compare with; otherwise one is started (needs java, and Maven the first time)
# Without BOOTSTRAP and MILLSTREAM_BIN, Kafka is compared with Kafka, which proves the harness: nothing may differ.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
  for pid in "${pids[@]}"; do for _ in $(seq 100); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done; done
  rm -rf "$scratch"
}
trap stop EXIT
export PYTHONDONTWRITEBYTECODE=1

if [ -z "${ORACLE:-}" ]; then
  port=$("$here/../interop/free_port.sh")
  pid=$("$here/../interop/kafka.sh" start "$scratch/oracle" "$port")
  pids+=("$pid") ORACLE=127.0.0.1:$port
fi
if [ -z "${BOOTSTRAP:-}" ]; then
  port=$("$here/../interop/free_port.sh")
  if [ -n "${MILLSTREAM_BIN:-}" ]; then
    pid=$("$here/../interop/broker.sh" start "$scratch/broker" "$port" group.initial.rebalance.delay.ms=0)
  else
    pid=$("$here/../interop/kafka.sh" start "$scratch/broker" "$port")
    export DIFFERENCES=/dev/null
  fi
  pids+=("$pid") BOOTSTRAP=127.0.0.1:$port
fi
status=0
python3 "$here/compare.py" "$ORACLE" "$BOOTSTRAP" "$@" || status=$?
for pid in "${pids[@]}"; do kill -0 "$pid" 2> /dev/null || { echo "a broker died"; tail -5 "$scratch"/*/server.log; status=1; }; done
exit $status
