#!/usr/bin/env bash
# Real clients against a broker.   run.sh [suite ...]     the suites are listed below; groups-* are consumer groups
#
# BOOTSTRAP      a running broker to test; otherwise MILLSTREAM_BIN is started. With neither, Apache Kafka is: that proves the suites.
#                kill-nine, chaos and dump-log start their own broker, so they need MILLSTREAM_BIN (or prove themselves on Kafka).
# ROUNDS         how often kill-nine and chaos kill the broker
# SEED           what they choose by
# REQUIRE=1      a suite whose client cannot be had here is a failure, not skipped
# INTEROP_CACHE  where clients are kept between runs (target/interop); everything is pinned and comes from the languages' own registries
#
# One line a check, `N passed, M failed` at the end.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cache=${INTEROP_CACHE:-$here/../../../target/interop}
mkdir -p "$cache" && cache=$(cd "$cache" && pwd)
export INTEROP_CACHE=$cache PYTHONDONTWRITEBYTECODE=1
scratch=$(mktemp -d)
pid=
suites=("$@")
[ $# -gt 0 ] || suites=(kcat confluent kafka-python aiokafka kafkajs java franz-go tools
  groups-java groups-confluent groups-kafka-python groups-aiokafka groups-kafkajs groups-franz-go groups-kcat groups-tools
  streams connect kill-nine chaos dump-log)

# Nobody waits for groups to form, and members of the new protocol are soon missed.
quick=(group.initial.rebalance.delay.ms=0 group.consumer.{min.,}heartbeat.interval.ms=500 group.consumer.min.session.timeout.ms=6000 group.consumer.session.timeout.ms=10000 group.consumer.regex.refresh.interval.ms=10000)
[[ " ${suites[*]} " =~ " "(groups-|streams|connect|chaos) ]] || quick=()

start() {
  if [ -n "${MILLSTREAM_BIN:-}" ]; then "$here/broker.sh" start "$1" "$2" "${quick[@]}"; else "$here/kafka.sh" start "$1" "$2" "${quick[@]}"; fi
}

stop() {
  [ -n "$pid" ] || return
  kill "$pid" 2> /dev/null
  for _ in $(seq 300); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
  pid=
}
trap 'stop; rm -rf "$scratch"' EXIT

# Each has_* makes a client available, or says why it cannot.
has_kcat() {
  command -v kcat > /dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || { echo "kcat is not installed and only root may install it"; return 1; }
  { apt-get update -q && apt-get install -y -q --no-install-recommends kcat; } > "$scratch/apt" 2>&1 || { tail -3 "$scratch/apt"; return 1; }
}

has_python() {
  local stamp=$cache/python/requirements.txt
  command -v python3 > /dev/null || { echo "no python3"; return 1; }
  cmp -s "$here/python/requirements.txt" "$stamp" && return
  rm -rf "$cache/python"
  { python3 -m venv "$cache/python" && "$cache/python/bin/pip" -q install --disable-pip-version-check -r "$here/python/requirements.txt"; } > "$scratch/pip" 2>&1 || { tail -3 "$scratch/pip"; return 1; }
  cp "$here/python/requirements.txt" "$stamp"
}

has_node() {
  command -v npm > /dev/null || { echo "no npm"; return 1; }
  cmp -s "$here/node/package-lock.json" "$cache/node/installed" && return
  mkdir -p "$cache/node" && cp "$here/node/package.json" "$here/node/package-lock.json" "$cache/node/"
  (cd "$cache/node" && npm ci --ignore-scripts --no-fund --no-audit) > "$scratch/npm" 2>&1 || { tail -3 "$scratch/npm"; return 1; }
  cp "$here/node/package-lock.json" "$cache/node/installed"
}

has_go() {
  command -v go > /dev/null || { echo "no go"; return 1; }
  (cd "$here/go" && GOFLAGS=-mod=readonly go build -o "$cache/franz-go" .) > "$scratch/go" 2>&1 || { tail -3 "$scratch/go"; return 1; }
}

has_java() {
  command -v java > /dev/null || { echo "no java"; return 1; }
  [ -n "${KAFKA_LIB:-}" ] || command -v mvn > /dev/null || { echo "no mvn"; return 1; }
  "$here/kafka.sh" jars > "$scratch/jars" 2> "$scratch/mvn" || { tail -3 "$scratch/mvn"; return 1; }
}

# A program of java/, compiled before anything runs.
has_class() { has_java && { "$here/kafka.sh" classes "$1" > "$scratch/javac" 2>&1 || { tail -3 "$scratch/javac"; return 1; }; }; }

needs() {
  case $1 in
    kcat) has_kcat ;;
    groups-kcat) has_kcat && has_java ;;
    confluent | kafka-python | aiokafka | groups-confluent | groups-kafka-python | groups-aiokafka) has_python ;;
    kafkajs) has_node ;;
    groups-kafkajs) has_python && has_node ;;
    franz-go) has_go ;;
    groups-franz-go) has_python && has_go ;;
    java | tools | dump-log) has_java ;;
    groups-java) has_class Groups ;;
    groups-tools) has_class GroupTools ;;
    streams) has_class Streams ;;
    connect) has_java && has_python ;;
    kill-nine | chaos) has_python ;;
  esac
}

# Enough written for indexes to have entries, with every codec, then a stop and a look at the files.
dump_log() {
  local folder=$scratch/dumped pid port
  port=$("$here/free_port.sh")
  pid=$(start "$folder" "$port") || return 1
  "$here/kafka.sh" tool org.apache.kafka.tools.TopicCommand --create --topic filled --partitions 3 --config segment.bytes=4000000 --bootstrap-server "127.0.0.1:$port" > /dev/null || return 1
  local codec
  for codec in none gzip snappy lz4 zstd; do
    "$here/kafka.sh" tool org.apache.kafka.tools.ProducerPerformance --topic filled --num-records 20000 --record-size 300 --throughput -1 \
      --producer-props "bootstrap.servers=127.0.0.1:$port" compression.type=$codec > /dev/null || return 1
  done
  stop
  "$here/dump_log.sh" "$folder/data"
}

# How a broker is started again and again, in `command`; Kafka's folder has to be made before.
restarts() {
  command=("$here/broker.sh" start)
  [ -z "${MILLSTREAM_BIN:-}" ] || return 0
  command=("$here/kafka.sh" resume)
  pid=$(start "$1" "$2") && stop
}

chaos() {
  local command pid= port
  port=$("$here/free_port.sh")
  restarts "$scratch/chaos" "$port"
  MILLSTREAM_ARGS="${MILLSTREAM_ARGS:-} ${quick[*]/#/--set }" "$cache/python/bin/python" "$here/chaos.py" "$scratch/chaos" "$port" "${ROUNDS:-5}" \
    "$cache/python/bin/python" "$here/python/member.py" confluent -- "${command[@]}" || return 1
  if [ -n "${MILLSTREAM_BIN:-}" ] && has_java > /dev/null; then COMPACTED=__consumer_offsets "$here/dump_log.sh" "$scratch/chaos/data"; fi
}

kill_nine() {
  local command pid= port
  port=$("$here/free_port.sh")
  restarts "$scratch/killed" "$port"
  "$cache/python/bin/python" "$here/kill_nine.py" "$scratch/killed" "$port" "${ROUNDS:-5}" "${command[@]}" || return 1
  # What the kills left behind is read once more by Kafka's own tool, after the clean stop at the end.
  if [ -n "${MILLSTREAM_BIN:-}" ] && has_java > /dev/null; then "$here/dump_log.sh" "$scratch/killed/data"; fi
}

# Groups of a client: its members are started by CLIENT's command.
groups() {
  local client=$1
  shift
  limited "$cache/python/bin/python" "$here/python/groups.py" "$client" "$BOOTSTRAP" "$@"
}

# The JVM of a suite: it is small and starts fast.
jvm() { limited java -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$("$here/kafka.sh" classes "$1")" "$@"; }

# A suite that hangs is ended.
limited() { timeout -k 5 "${SUITE_SECONDS:-300}" "$@"; }

run() {
  case $1 in
    kcat) limited "$here/kcat.sh" "$BOOTSTRAP" ;;
    confluent) limited "$cache/python/bin/python" "$here/python/confluent.py" "$BOOTSTRAP" ;;
    kafka-python) limited "$cache/python/bin/python" "$here/python/kafka_python.py" "$BOOTSTRAP" ;;
    aiokafka) limited "$cache/python/bin/python" "$here/python/aio.py" "$BOOTSTRAP" ;;
    kafkajs) NODE_PATH=$cache/node/node_modules limited node "$here/node/kafkajs.js" "$BOOTSTRAP" ;;
    java) limited java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$("$here/kafka.sh" jars)/*" "$here/java/Interop.java" "$BOOTSTRAP" ;;
    franz-go) limited "$cache/franz-go" "$BOOTSTRAP" ;;
    tools) limited "$here/tools.sh" "$BOOTSTRAP" ;;
    groups-java) jvm Groups "$BOOTSTRAP" ;;
    groups-confluent | groups-kafka-python | groups-aiokafka) groups "${1#groups-}" "$cache/python/bin/python" "$here/python/member.py" "${1#groups-}" ;;
    groups-kafkajs) NODE_PATH=$cache/node/node_modules groups kafkajs node "$here/node/member.js" ;;
    groups-franz-go) groups franz-go "$cache/franz-go" member ;;
    groups-kcat) limited "$here/kcat_groups.sh" "$BOOTSTRAP" ;;
    groups-tools) jvm GroupTools "$BOOTSTRAP" ;;
    streams) jvm Streams "$BOOTSTRAP" ;;
    connect) mkdir "$scratch/connect" && limited "$cache/python/bin/python" "$here/python/connect.py" "$BOOTSTRAP" "$("$here/kafka.sh" jars)" "$scratch/connect" ;;
    chaos) chaos ;;
    dump-log) dump_log ;;
    kill-nine) kill_nine ;;
    *) echo "unknown suite: $1"; return 1 ;;
  esac
}

passed=0 failed=0 skipped=0 running=()
fail() { failed=$((failed + 1)); echo "FAIL $*"; }

# Suites are begun one after the other; those of groups, whose members wait most of their time, up to three beside each other.
begin() {
  run "$1" > "$scratch/$1.said" 2> "$scratch/$1.errors" &
  running+=("$1:$!")
}

# The suite that was begun first comes to its end, and is counted.
finish() {
  local suite=${running[0]%:*} status bad
  wait "${running[0]##*:}"
  status=$?
  running=("${running[@]:1}")
  cat "$scratch/$suite.said"
  passed=$((passed + $(grep -c '^ok ' "$scratch/$suite.said")))
  # One that ends badly without naming a check is a failure of its own.
  bad=$(grep -c '^FAIL ' "$scratch/$suite.said")
  failed=$((failed + bad))
  if [ "$status" != 0 ] && [ "$bad" = 0 ]; then fail "$suite: ended with $status: $(tail -c 600 "$scratch/$suite.errors" | tr '\n' ' ')"; fi
}

for suite in "${suites[@]}"; do
  beside=0
  [[ $suite != groups-* ]] || beside=2
  while [ ${#running[@]} -gt $beside ]; do finish; done
  if ! why=$(needs "$suite" 2>&1); then
    if [ "${REQUIRE:-}" = 1 ]; then fail "$suite: $why"; else skipped=$((skipped + 1)); echo "skip $suite: $why"; fi
    continue
  fi
  if [ -z "${BOOTSTRAP:-}" ] && [[ ! $suite =~ ^(dump-log|kill-nine|chaos)$ ]]; then
    port=$("$here/free_port.sh")
    pid=$(start "$scratch/broker" "$port") || { fail "the broker does not start"; break; }
    BOOTSTRAP=127.0.0.1:$port
  fi
  begin "$suite"
  [[ $suite == groups-* ]] || finish
done
while [ ${#running[@]} -gt 0 ]; do finish; done
if [ -n "$pid" ] && ! kill -0 "$pid" 2> /dev/null; then fail "the broker died: $(tail -3 "$scratch/broker/server.log" | tr '\n' ' ')"; fi
[ "$failed" = 0 ] || [ ! -f "$scratch/broker/server.log" ] || tail -5 "$scratch/broker/server.log"
[ "$skipped" = 0 ] || echo "$skipped suites skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
