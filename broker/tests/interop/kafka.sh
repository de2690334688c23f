#!/usr/bin/env bash
# Apache Kafka, the original, for the suites here: its jars by Maven, a broker, its own tools.
#
#   kafka.sh jars                            fetches the jars once; prints their folder
#   kafka.sh classes NAME                    compiles java/NAME.java; prints the class path to run it with
#   kafka.sh start DIR PORT [key=value ...]  one node in KRaft mode on PORT and PORT+1, DIR wiped first; prints its pid when it answers
#   kafka.sh resume DIR PORT                 starts that node again after a stop or a kill
#   kafka.sh tool CLASS [argument ...]       runs a main class of the jars
#
# KAFKA_LIB names a folder of jars that is there already; HEAP the broker's heap.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=4.3.1
cache=${INTEROP_CACHE:-$here/../../../target/interop}
lib=${KAFKA_LIB:-$cache/kafka-$version}

jars() {
  # What they were fetched by lies beside them: another list fetches them anew.
  if [ -z "${KAFKA_LIB:-}" ] && ! cmp -s "$here/kafka.xml" "$lib/pom.xml"; then
    mkdir -p "$lib.part"
    cp "$here/kafka.xml" "$lib.part/pom.xml"
    mvn -q -B -f "$lib.part/pom.xml" -Dkafka.version=$version dependency:copy-dependencies -DoutputDirectory="$lib.part" >&2
    # One binding for slf4j, the one that says nothing.
    rm -f "$lib.part"/logback* "$lib.part"/log4j-slf4j*
    rm -rf "$lib" && mv "$lib.part" "$lib"
  fi
  (cd "$lib" && pwd)
}

classes() {
  local folder=$cache/classes-$version
  if [ ! -f "$folder/$1.class" ] || [ -n "$(find "$here/java" -newer "$folder/$1.class" -name '*.java')" ]; then
    javac -proc:none -d "$folder" -cp "$lib/*" -sourcepath "$here/java" "$here/java/$1.java" >&2
  fi
  echo "$folder:$lib/*"
}

start() {
  local dir=$1 port=$2 properties
  shift 2
  rm -rf "$dir" && mkdir -p "$dir"
  properties=$dir/server.properties
  cat > "$properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
PROPERTIES
  printf '%s\n' "$@" >> "$properties"
  java -cp "$lib/*" kafka.tools.StorageTool format --standalone -t "$(java -cp "$lib/*" kafka.tools.StorageTool random-uuid)" -c "$properties" > "$dir/format.log" 2>&1 ||
    { cat "$dir/format.log" >&2; exit 2; }
  resume "$dir" "$port"
}

resume() {
  local dir=$1 port=$2 try
  # A killed one's threads may outlive it a little.
  for try in $(seq 100); do
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || break
    [ "$try" -lt 100 ] || { echo "port $port is taken" >&2; exit 2; }
    sleep 0.1
  done
  nohup java -Xmx"${HEAP:-512m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$lib/*" kafka.Kafka "$dir/server.properties" >> "$dir/server.log" 2>&1 < /dev/null &
  local pid=$!
  "$here/answers.sh" "127.0.0.1:$port" 60 "$pid" || { tail -20 "$dir/server.log" >&2; exit 2; }
  echo "$pid"
}

command=${1:?jars, classes, start, resume or tool}
shift
lib=$(jars)
case $command in
  jars) echo "$lib" ;;
  classes) classes "$1" ;;
  start) start "$@" ;;
  resume) resume "$@" ;;
  tool) exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$lib/*" "$@" ;;
  *) echo "unknown: $command" >&2; exit 2 ;;
esac
