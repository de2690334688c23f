import com.fasterxml.jackson.databind.*;
import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.time.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.Exit;

/** Apache Kafka's own tools for groups, called as the shell would call them but in one JVM.   java -cp CLASSES:'JARS/*' GroupTools HOST:PORT */
public class GroupTools extends Checks {
    static final String TOOLS = "org.apache.kafka.tools.";
    static String address, prefix;
    static Admin admin;
    static KafkaProducer<byte[], byte[]> producer;

    public static void main(String[] args) throws Exception {
        address = args[0];
        client = "tools-groups";
        prefix = "tools-" + ProcessHandle.current().pid() + "-" + System.currentTimeMillis() % 100000 + "-";
        admin = Admin.create(Map.of("bootstrap.servers", address));
        producer = new KafkaProducer<>(Map.of("bootstrap.servers", address), new ByteArraySerializer(), new ByteArraySerializer());
        for (String protocol : List.of("classic", "consumer")) {
            check("kafka-verifiable-producer and -consumer, killed; " + protocol, () -> verifiable(protocol));
            check("kafka-consumer-groups lists and describes; " + protocol, () -> described(protocol));
        }
        check("kafka-consumer-groups resets offsets", GroupTools::reset);
        check("kafka-consumer-groups deletes offsets and groups", GroupTools::deleted);
        check("kafka-console-consumer in a group", GroupTools::console);
        check("kafka-consumer-perf-test", GroupTools::performance);
        producer.close();
        admin.close();
        end();
    }

    static final class Exited extends RuntimeException {}

    /** What a tool prints, blanks run together; it may end by itself or by an exit. */
    static List<String> tool(String name, String... args) throws Exception {
        var all = new ArrayList<>(List.of("--bootstrap-server", address));
        all.addAll(List.of(args));
        PrintStream out = System.out, err = System.err;
        var printed = new ByteArrayOutputStream();
        var both = new PrintStream(printed, true, StandardCharsets.UTF_8);
        Exit.Procedure exit = (code, message) -> { throw new Exited(); };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        System.setOut(both);
        System.setErr(new PrintStream(OutputStream.nullOutputStream()));
        try {
            Class.forName(TOOLS + name).getMethod("main", String[].class).invoke(null, (Object) all.toArray(String[]::new));
        } catch (InvocationTargetException error) {
            if (!(error.getCause() instanceof Exited)) throw new AssertionError(name + " fails", error.getCause());
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        return printed.toString(StandardCharsets.UTF_8).lines().map(line -> line.strip().replaceAll("\\s+", " ")).filter(line -> !line.isEmpty()).toList();
    }

    static List<String> groups(String... args) throws Exception { return tool("consumer.group.ConsumerGroupCommand", args); }

    static void holds(List<String> lines, String line) { if (!lines.contains(line)) throw new AssertionError("no '" + line + "' in " + lines); }

    static void matches(List<String> lines, String pattern) {
        if (lines.stream().noneMatch(line -> line.matches(pattern))) throw new AssertionError("no '" + pattern + "' in " + lines);
    }

    static String topic(String name, int partitions) throws Exception {
        String topic = prefix + name;
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        return topic;
    }

    static void produce(String topic, int partition, int count, long timestamp) throws Exception {
        var sent = new ArrayList<Future<RecordMetadata>>();
        for (int at = 0; at < count; at++) sent.add(producer.send(new ProducerRecord<>(topic, partition, timestamp, null, ("line " + at).getBytes(StandardCharsets.UTF_8))));
        for (var future : sent) future.get();
    }

    static Map<Integer, Long> committed(String group) throws Exception {
        Map<Integer, Long> found = new TreeMap<>();
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((place, offset) -> found.put(place.partition(), offset.offset()));
        return found;
    }

    static String state(String group) throws Exception { return admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState().toString(); }

    /** A tool as a process, which tells what happens in lines of JSON. */
    static final class Verifiable implements AutoCloseable {
        final Process process;
        final List<JsonNode> events = new CopyOnWriteArrayList<>();
        final Thread listener;

        Verifiable(String name, String... args) throws IOException {
            var command = new ArrayList<>(List.of(ProcessHandle.current().info().command().get(), "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"), TOOLS + name,
                "--bootstrap-server", address));
            command.addAll(List.of(args));
            process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
            Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
            listener = new Thread(this::listen);
            listener.setDaemon(true);
            listener.start();
        }

        private void listen() {
            var json = new ObjectMapper();
            try (var lines = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) events.add(json.readTree(line));
            } catch (IOException killed) {
                // Its last line may be cut short.
            }
        }

        List<JsonNode> named(String name) { return events.stream().filter(event -> event.get("name").asText().equals(name)).toList(); }

        /** Per partition, the first and the last offset read; those in between must all be there. */
        Map<Integer, List<Long>> read() {
            Map<Integer, List<Long>> read = new TreeMap<>();
            for (var event : named("records_consumed"))
                for (var place : event.get("partitions")) {
                    long from = place.get("minOffset").asLong(), to = place.get("maxOffset").asLong();
                    same(to - from + 1, place.get("count").asLong(), "records between two offsets");
                    var before = read.get(place.get("partition").asInt());
                    if (before != null) same(from, before.get(1) + 1, "offset after " + before.get(1));
                    read.put(place.get("partition").asInt(), List.of(before == null ? from : before.get(0), to));
                }
            return read;
        }

        long count() { return named("records_consumed").stream().mapToLong(event -> event.get("count").asLong()).sum(); }

        void finish() throws Exception {
            if (!process.waitFor(90, TimeUnit.SECONDS)) throw new AssertionError("it does not end");
            listener.join();
        }

        /** As the shell's kill; destroy() of a process would close its output too. */
        void stop() throws Exception {
            process.toHandle().destroy();
            finish();
        }

        public void close() { process.destroyForcibly(); }
    }

    static Verifiable consumer(String protocol, String topic, String group) throws IOException {
        var args = new ArrayList<>(List.of("--topic", topic, "--group-id", group, "--group-protocol", protocol, "--reset-policy", "earliest"));
        if (protocol.equals("classic")) args.addAll(List.of("--session-timeout", "6000"));
        return new Verifiable("VerifiableConsumer", args.toArray(String[]::new));
    }

    static void verifiable(String protocol) throws Exception {
        String topic = topic("verifiable-" + protocol, 3), group = topic;
        try (var writer = new Verifiable("VerifiableProducer", "--topic", topic, "--max-messages", "2000", "--throughput", "-1", "--acks", "-1", "--repeating-keys", "50")) {
            writer.finish();
            var told = writer.named("tool_data").get(0);
            same(told.get("sent") + " " + told.get("acked") + " " + writer.named("producer_send_success").size(), "2000 2000 2000", "sent and acknowledged");
        }
        var ends = admin.listOffsets(IntStream.range(0, 3).boxed().collect(Collectors.toMap(at -> new TopicPartition(topic, at), at -> OffsetSpec.latest()))).all().get();
        same(ends.values().stream().mapToLong(end -> end.offset()).sum(), 2000L, "records");
        Map<Integer, Long> wanted = new TreeMap<>();
        ends.forEach((place, end) -> wanted.put(place.partition(), end.offset()));
        try (var first = consumer(protocol, topic, group)) {
            becomes(first::count, 2000L, "records read");
            becomes(() -> committed(group), wanted, "committed");
            wanted.forEach((partition, end) -> same(first.read().get(partition), List.of(0L, end - 1), "read of " + partition));
        }
        for (int partition = 0; partition < 3; partition++) produce(topic, partition, 100, System.currentTimeMillis());
        // The dead one's partitions come free when its session is over.
        try (var second = consumer(protocol, topic, group)) {
            becomes(second::count, 300L, "records read after the kill");
            wanted.forEach((partition, end) -> same(second.read().get(partition), List.of(end, end + 99), "read of " + partition + " after the kill"));
            wanted.replaceAll((partition, end) -> end + 100);
            becomes(() -> committed(group), wanted, "committed after the kill");
            second.stop();
            same(second.named("shutdown_complete").size(), 1, "it stops in order");
        }
        becomes(() -> state(group), "Empty", "state");
    }

    static void described(String protocol) throws Exception {
        String topic = topic("described-" + protocol, 3), group = topic, type = protocol.equals("classic") ? "Classic" : "Consumer";
        String assignor = protocol.equals("classic") ? "range" : "uniform", node = admin.describeCluster().nodes().get().iterator().next().toString().replaceAll("^(.*?):(\\d+) .*$", "$1:$2");
        int id = admin.describeCluster().nodes().get().iterator().next().id();
        for (int partition = 0; partition < 2; partition++) produce(topic, partition, 10 + partition, System.currentTimeMillis());
        try (var member = new Verifiable("VerifiableConsumer", "--topic", topic, "--group-id", group, "--group-protocol", protocol, "--reset-policy", "earliest", "--group-instance-id", "here")) {
            becomes(() -> committed(group), Map.of(0, 10L, 1, 11L), "committed");
            becomes(() -> state(group), "Stable", "state");
            holds(groups("--list"), group);
            holds(groups("--list", "--state", "--type"), group + " " + type + " Stable");
            holds(groups("--list", "--state", "stable"), group + " Stable");
            holds(groups("--list", "--type", protocol), group + " " + type);
            same(groups("--list", "--state", "empty").contains(group + " Empty"), false, "listed among the empty");
            var offsets = groups("--describe", "--group", group);
            matches(offsets, group + " " + topic + " 0 10 10 0 \\S+ /127\\.0\\.0\\.1 \\S+");
            matches(offsets, group + " " + topic + " 1 11 11 0 \\S+ /127\\.0\\.0\\.1 \\S+");
            matches(offsets, group + " " + topic + " 2 - 0 - \\S+ /127\\.0\\.0\\.1 \\S+");
            same(groups("--describe", "--all-groups", "--offsets").containsAll(offsets), true, "the same among all groups");
            var members = groups("--describe", "--group", group, "--members", "--verbose");
            if (type.equals("Classic")) matches(members, group + " \\S+ here /127\\.0\\.0\\.1 \\S+ 3 - " + topic + ":0,1,2 - -");
            else matches(members, group + " \\S+ here /127\\.0\\.0\\.1 \\S+ 3 \\d+ " + topic + ":0,1,2 \\d+ " + topic + ":0,1,2");
            holds(groups("--describe", "--group", group, "--state"), group + " " + node + " (" + id + ") " + assignor + " Stable 1");
            var states = groups("--describe", "--group", group, "--state", "--verbose");
            matches(states, group + " \\S+ \\(\\d+\\) " + assignor + " Stable " + (type.equals("Classic") ? "- - 1" : "(\\d+) \\1 1"));
            holds(tool("GroupsCommand", "--list"), group + " " + type + " consumer");
            holds(tool("GroupsCommand", "--list", "--consumer"), group + " " + type + " consumer");
            holds(tool("GroupsCommand", "--list", "--group-type", protocol), group + " " + type + " consumer");
            same(tool("GroupsCommand", "--list", "--group-type", protocol.equals("classic") ? "consumer" : "classic").contains(group + " " + type + " consumer"), false, "listed among the other type");
            holds(tool("GroupsCommand", "--list", "--protocol", "consumer"), group + " " + type + " consumer");
            // Nothing may be changed under a member.
            holds(groups("--reset-offsets", "--group", group, "--all-topics", "--to-earliest", "--execute"), "Error: Assignments can only be reset if the group '" + group + "' is inactive, but the current state is Stable.");
            matches(groups("--delete", "--group", group), ".*" + group + ".*GroupNotEmptyException.*");
            matches(groups("--delete-offsets", "--group", group, "--topic", topic), topic + " 0 Error: .*subscribed.*");
            same(committed(group), Map.of(0, 10L, 1, 11L), "committed still");
        }
        admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("here"))));
        matches(groups("--describe", "--group", prefix + "missing"), "Error: .*GroupIdNotFoundException: Group " + prefix + "missing not found\\.");
    }

    static void reset() throws Exception {
        String topic = topic("reset", 2), other = topic("reset-other", 1), group = prefix + "reset";
        long now = System.currentTimeMillis();
        for (int partition = 0; partition < 2; partition++) {
            produce(topic, partition, 10, now - 3 * 3_600_000);
            produce(topic, partition, 10, now);
        }
        produce(other, 0, 5, now);
        // One without members and offsets is made by this.
        resets(group, topic, "--to-earliest", 0, 0);
        resets(group, topic, "--to-latest", 20, 20);
        resets(group, topic, "--to-offset 7", 7, 7);
        resets(group, topic, "--to-offset 99", 20, 20);
        resets(group, topic, "--shift-by -3", 17, 17);
        resets(group, topic, "--shift-by 2", 19, 19);
        resets(group, topic, "--shift-by -100", 0, 0);
        resets(group, topic, "--by-duration PT1H", 10, 10);
        resets(group, topic, "--to-datetime " + Instant.ofEpochMilli(now - 4 * 3_600_000).toString().replace("Z", "+00:00").replaceAll("(:\\d\\d)\\+", "$1.000+"), 0, 0);
        resets(group, topic, "--to-datetime " + Instant.ofEpochMilli(now + 3_600_000).toString().replace("Z", "+00:00").replaceAll("(:\\d\\d)\\+", "$1.000+"), 20, 20);
        resets(group, topic + ":1", "--to-offset 4", 20, 4);
        resets(group, topic, "--to-current", 20, 4);
        var plan = Files.createTempFile("plan", ".csv");
        try {
            Files.write(plan, List.of(topic + ",0,13", topic + ",1,14"));
            resets(group, null, "--from-file " + plan, 13, 14);
        } finally {
            Files.delete(plan);
        }
        var exported = groups("--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--export", "--dry-run");
        same(new TreeSet<>(exported), Set.of(topic + ",0,0", topic + ",1,0"), "exported");
        same(committed(group), Map.of(0, 13L, 1, 14L), "committed after a dry run");
        holds(groups("--reset-offsets", "--group", group, "--topic", other, "--to-latest", "--execute"), group + " " + other + " 0 5");
        same(groups("--reset-offsets", "--group", group, "--all-topics", "--to-earliest", "--execute").size(), 4, "lines for all topics: a head and three partitions");
        // A consumer of either protocol goes on there.
        for (String protocol : List.of("classic", "consumer")) {
            groups("--reset-offsets", "--group", group, "--topic", topic, "--to-offset", "18", "--execute");
            try (var member = consumer(protocol, topic, group)) {
                becomes(member::count, 4L, "records read from there");
                same(member.read(), Map.of(0, List.of(18L, 19L), 1, List.of(18L, 19L)), "read from there");
                member.stop();
            }
            becomes(() -> state(group), "Empty", "state");
        }
    }

    static void resets(String group, String topic, String how, long first, long second) throws Exception {
        var args = new ArrayList<>(List.of("--reset-offsets", "--group", group));
        if (topic != null) args.addAll(List.of("--topic", topic));
        args.addAll(List.of(how.split(" ")));
        var before = admin.listGroups().all().get().stream().anyMatch(listing -> listing.groupId().equals(group)) ? committed(group) : Map.of();
        args.add("--dry-run");
        var planned = groups(args.toArray(String[]::new));
        same(admin.listGroups().all().get().stream().anyMatch(listing -> listing.groupId().equals(group)) ? committed(group) : Map.of(), before, how + ", dry");
        args.set(args.size() - 1, "--execute");
        same(new TreeSet<>(groups(args.toArray(String[]::new))), new TreeSet<>(planned), how + ", what is told");
        same(committed(group), Map.of(0, first, 1, second), how);
    }

    static void deleted() throws Exception {
        String topic = topic("deleted", 3), group = prefix + "deleted", second = prefix + "deleted-too";
        for (String name : List.of(group, second)) groups("--reset-offsets", "--group", name, "--topic", topic, "--to-earliest", "--execute");
        holds(groups("--delete-offsets", "--group", group, "--topic", topic + ":1"), topic + " 1 Successful");
        same(committed(group), Map.of(0, 0L, 2, 0L), "offsets left");
        holds(groups("--delete-offsets", "--group", group, "--topic", topic), topic + " 2 Successful");
        // A simple group has nothing else.
        same(admin.listGroups().all().get().stream().anyMatch(listing -> listing.groupId().equals(group)), true, "it is there without offsets");
        matches(groups("--delete", "--group", group, "--group", second), "Deletion of requested consumer groups \\(.*\\) was successful\\.");
        matches(groups("--delete", "--group", second), ".*" + second + ".*GroupIdNotFoundException.*");
        matches(groups("--delete-offsets", "--group", second, "--topic", topic), ".*[Gg]roup.*(not exist|not found).*");
    }

    static void console() throws Exception {
        String topic = topic("console", 1), group = topic;
        produce(topic, 0, 100, System.currentTimeMillis());
        for (String protocol : List.of("classic", "consumer")) {
            for (int half = 0; half < 2; half++) {
                var lines = tool("consumer.ConsoleConsumer", "--topic", topic, "--group", group + "-" + protocol, "--from-beginning", "--max-messages", "50", "--timeout-ms", "60000", "--consumer-property", "group.protocol=" + protocol);
                int from = half * 50;
                same(lines.stream().filter(line -> line.startsWith("line")).toList(), IntStream.range(from, from + 50).mapToObj(at -> "line " + at).toList(), "half " + half);
            }
            same(committed(group + "-" + protocol), Map.of(0, 100L), "committed");
        }
    }

    static void performance() throws Exception {
        String topic = topic("performance", 4);
        for (int partition = 0; partition < 4; partition++) produce(topic, partition, 5000, System.currentTimeMillis());
        for (String protocol : List.of("classic", "consumer")) {
            var config = Files.write(Files.createTempFile("performance", ".properties"), List.of("group.protocol=" + protocol, "auto.offset.reset=earliest"));
            try {
                var lines = tool("ConsumerPerformance", "--topic", topic, "--num-records", "20000", "--group", topic + "-" + protocol, "--command-config", config.toString(), "--timeout", "60000");
                same(lines.get(lines.size() - 1).split(", ")[4], "20000", "records read");
            } finally {
                Files.delete(config);
            }
        }
    }
}
