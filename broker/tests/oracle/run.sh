#!/usr/bin/env bash
# Compares a broker's answers with Apache Kafka's.   run.sh [case pattern ...]
#
# BOOTSTRAP     a running broker to judge; otherwise MILLSTREAM_BIN is started
# ORACLE        a running Apache Kafka to compare with; otherwise one is started (needs java, and Maven the first time)
# Without BOOTSTRAP and MILLSTREAM_BIN, Kafka is compared with Kafka, which proves the harness: nothing may differ.
# Brokers that run already were started with group.initial.rebalance.delay.ms=0 and group.consumer.assignment.interval.ms=0; cases that need other settings are left out then.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
  for pid in "${pids[@]}"; do for _ in $(seq 100); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done; done
  pids=()
}
trap 'stop; rm -rf "$scratch"' EXIT
export PYTHONDONTWRITEBYTECODE=1

# Groups settle at once, so that what a member is told does not depend on how fast it asks.
at_once=(group.initial.rebalance.delay.ms=0 group.consumer.assignment.interval.ms=0)

# compare_with SETTINGS [case pattern ...]    SETTINGS are words key=value
compare_with() {
  local settings status=0 oracle=${ORACLE:-} broker=${BOOTSTRAP:-} port pid
  read -r -a settings <<< "$1"
  if [ -z "$oracle" ]; then
    port=$("$here/../interop/free_port.sh")
    pid=$("$here/../interop/kafka.sh" start "$scratch/oracle" "$port" "${at_once[@]}" "${settings[@]}")
    pids+=("$pid") oracle=127.0.0.1:$port
  fi
  if [ -z "$broker" ]; then
    port=$("$here/../interop/free_port.sh")
    if [ -n "${MILLSTREAM_BIN:-}" ]; then
      rm -rf "$scratch/broker"
      pid=$("$here/../interop/broker.sh" start "$scratch/broker" "$port" "${at_once[@]}" "${settings[@]}")
    else
      pid=$("$here/../interop/kafka.sh" start "$scratch/broker" "$port" "${at_once[@]}" "${settings[@]}")
      export DIFFERENCES=/dev/null
    fi
    pids+=("$pid") broker=127.0.0.1:$port
  fi
  SETTINGS=$1 python3 "$here/compare.py" "$oracle" "$broker" "${@:2}" | tee -a "$scratch/said" || status=$?
  for pid in "${pids[@]}"; do kill -0 "$pid" 2> /dev/null || { echo "a broker died"; tail -5 "$scratch"/*/server.log; status=1; }; done
  stop
  return "$status"
}

status=0
mapfile -t runs < <(python3 "$here/compare.py" --settings "$@")
for settings in "${runs[@]}"; do
  if [ -n "$settings" ] && [ -n "${ORACLE:-}${BOOTSTRAP:-}" ]; then
    echo "left out: cases for brokers with $settings"
  else
    compare_with "$settings" "$@" || status=1
  fi
done
awk '/^[0-9]+ passed, [0-9]+ failed$/ {good += $1; bad += $3} END {print good + 0 " passed, " bad + 0 " failed"}' "$scratch/said"
exit $status
