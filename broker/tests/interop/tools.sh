#!/usr/bin/env bash
# Apache Kafka's own command-line tools.   tools.sh HOST:PORT
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"
client=tools address=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
topic=tools-$$-$(date +%s)
tool() { timeout 60 "$here/kafka.sh" tool "$@" --bootstrap-server "$address"; }
topics() { tool org.apache.kafka.tools.TopicCommand "$@"; }
# Prints, and says what it looked for if that is missing.
holds() { grep -q -- "$2" "$1" || { echo "no '$2' in: $(cat "$1")"; return 1; }; }

create() {
  topics --create --topic "$topic" --partitions 4 --config cleanup.policy=compact,delete --config max.message.bytes=500000 > "$scratch/out" && holds "$scratch/out" "Created topic $topic" &&
    topics --list > "$scratch/out" && holds "$scratch/out" "^$topic$"
}

describe() {
  topics --describe --topic "$topic" > "$scratch/out" && holds "$scratch/out" 'PartitionCount: 4' && holds "$scratch/out" 'cleanup.policy=compact,delete' &&
    holds "$scratch/out" 'max.message.bytes=500000' && [ "$(grep -c 'Leader: [0-9]' "$scratch/out")" = 4 ]
}

alter() { topics --alter --topic "$topic" --partitions 6 && topics --describe --topic "$topic" > "$scratch/out" && holds "$scratch/out" 'PartitionCount: 6'; }

console() {
  seq 100 | sed 's/.*/k&:line &/' > "$scratch/in"
  topics --create --topic "$topic-console" --partitions 1 > /dev/null &&
    tool org.apache.kafka.tools.ConsoleProducer --topic "$topic-console" --reader-property parse.key=true --reader-property key.separator=: --compression-codec lz4 < "$scratch/in" &&
    tool org.apache.kafka.tools.consumer.ConsoleConsumer --topic "$topic-console" --partition 0 --offset earliest --max-messages 100 --timeout-ms 20000 \
      --formatter-property print.key=true --formatter-property key.separator=: > "$scratch/out" && same "$scratch/out" "$scratch/in"
}

# The sum of all offsets, and how many partitions have one.
offsets_at() { tool org.apache.kafka.tools.GetOffsetShell --topic "$1" --time "$2" > "$scratch/out" && awk -F: '{sum += $3} END {print NR, sum}' "$scratch/out" | tee -a "$scratch/said"; }

offsets() {
  tool org.apache.kafka.tools.ConsoleProducer --topic "$topic" --reader-property parse.key=true --reader-property key.separator=: < "$scratch/in" || return 1
  [ "$(offsets_at "$topic" latest)" = "6 100" ] && [ "$(offsets_at "$topic" earliest)" = "6 0" ] && [[ $(offsets_at "$topic-console" max-timestamp) =~ ^1\ [0-9]+$ ]] && return
  cat "$scratch/said"
  return 1
}

delete_records() {
  printf '{"partitions":[{"topic":"%s","partition":0,"offset":-1}],"version":1}' "$topic" > "$scratch/places.json"
  tool org.apache.kafka.tools.DeleteRecordsCommand --offset-json-file "$scratch/places.json" > "$scratch/out" && holds "$scratch/out" 'low_watermark' &&
    tool org.apache.kafka.tools.GetOffsetShell --topic-partitions "$topic:0" --time earliest > "$scratch/early" && tool org.apache.kafka.tools.GetOffsetShell --topic-partitions "$topic:0" --time latest > "$scratch/late" &&
    same "$scratch/early" "$scratch/late"
}

configs() {
  tool kafka.admin.ConfigCommand --describe --entity-type topics --entity-name "$topic" > "$scratch/out" && holds "$scratch/out" 'max.message.bytes=500000' &&
    tool kafka.admin.ConfigCommand --describe --all --entity-type topics --entity-name "$topic" > "$scratch/out" && holds "$scratch/out" 'retention.ms=604800000'
}

# What is set of a kind and a name.
settings() { tool kafka.admin.ConfigCommand --describe --entity-type "$1" "${@:2}" > "$scratch/out"; }
set_config() { tool kafka.admin.ConfigCommand --alter --entity-type "$@" > "$scratch/out"; }

alter_configs() {
  set_config topics --entity-name "$topic" --add-config retention.ms=77000,cleanup.policy=[compact] --delete-config max.message.bytes && settings topics --entity-name "$topic" &&
    holds "$scratch/out" 'retention.ms=77000' && holds "$scratch/out" 'cleanup.policy=compact ' && ! grep -q max.message.bytes= "$scratch/out" || return 1
  ! set_config topics --entity-name "$topic" --add-config retention.ms=soon 2> /dev/null
}

alter_groups() {
  set_config groups --entity-name "$topic" --add-config consumer.session.timeout.ms=50000 && settings groups --entity-name "$topic" && holds "$scratch/out" 'consumer.session.timeout.ms=50000' &&
    set_config groups --entity-name "$topic" --delete-config consumer.session.timeout.ms && settings groups --entity-name "$topic" && ! grep -q consumer.session.timeout.ms=50000 "$scratch/out"
}

alter_brokers() {
  set_config brokers --entity-default --add-config message.max.bytes=1500000 && settings brokers --entity-default && holds "$scratch/out" 'message.max.bytes=1500000' &&
    set_config brokers --entity-default --delete-config message.max.bytes && settings brokers --entity-default && ! grep -q message.max.bytes= "$scratch/out"
}

perf() {
  topics --create --topic "$topic-perf" --partitions 8 > /dev/null &&
    timeout 120 "$here/kafka.sh" tool org.apache.kafka.tools.ProducerPerformance --topic "$topic-perf" --num-records 100000 --record-size 200 --throughput -1 --producer-props "bootstrap.servers=$address" acks=all compression.type=lz4 > "$scratch/out" &&
    holds "$scratch/out" '^100000 records sent' &&
    [ "$(offsets_at "$topic-perf" latest)" = "8 100000" ]
}

broker_versions() { tool org.apache.kafka.tools.BrokerApiVersionsCommand > "$scratch/out" 2>&1 && holds "$scratch/out" 'Produce(0)' && holds "$scratch/out" 'ApiVersions(18)'; }

cluster_id() { tool org.apache.kafka.tools.ClusterTool cluster-id > "$scratch/out" && holds "$scratch/out" 'Cluster ID: '; }

delete() { topics --delete --topic "$topic" && sleep 1 && topics --list > "$scratch/out" && ! grep -q "^$topic$" "$scratch/out"; }

check "kafka-topics creates and lists" create
check "kafka-topics describes" describe
check "kafka-topics adds partitions" alter
check "kafka-console-producer and -consumer" console
check "kafka-get-offsets" offsets
check "kafka-delete-records" delete_records
check "kafka-configs describes" configs
check "kafka-configs alters topics" alter_configs
check "kafka-configs alters groups" alter_groups
check "kafka-configs alters brokers" alter_brokers
check "kafka-producer-perf-test" perf
check "kafka-broker-api-versions" broker_versions
check "kafka-cluster" cluster_id
check "kafka-topics deletes" delete
exit $((failed > 0))
