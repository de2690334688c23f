import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

/** Apache Kafka's own client.   java -cp 'JARS/*' Interop.java HOST:PORT     Partitions are assigned: no consumer groups. */
public class Interop {
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static final long START = System.currentTimeMillis() - 3_600_000;
    static String address, prefix;
    static Admin admin;
    static int failed;

    interface Check { void run() throws Exception; }

    record Rec(int partition, String key, String value, List<String> headers, long timestamp) {}

    public static void main(String[] args) throws Exception {
        address = args[0];
        prefix = "java-" + ProcessHandle.current().pid() + "-" + START % 100000 + "-";
        admin = Admin.create(Map.of("bootstrap.servers", address));
        for (String codec : CODECS) check("records of every shape, " + codec, () -> everyShape(codec));
        for (String acks : List.of("1", "0")) check("acks=" + acks, () -> acks(acks));
        check("many small batches, idempotent", Interop::manyBatches);
        check("records of 1 MiB", Interop::large);
        check("100 partitions", Interop::manyPartitions);
        check("read from the end", Interop::fromTheEnd);
        check("read from an offset and a timestamp", Interop::fromAnOffset);
        check("offsets of all kinds", Interop::offsets);
        check("a topic deleted and made again, by name and by id", Interop::deleted);
        check("records deleted", Interop::recordsDeleted);
        check("partitions added", Interop::partitionsAdded);
        check("configs described and changed", Interop::configs);
        check("errors have their own types", Interop::errors);
        check("topics and cluster described", Interop::described);
        admin.close();
        System.exit(failed == 0 ? 0 : 1);
    }

    static void check(String what, Check check) {
        long began = System.currentTimeMillis();
        try {
            check.run();
            System.out.printf("ok   java: %s (%.1f s)%n", what, (System.currentTimeMillis() - began) / 1000.0);
        } catch (Throwable error) {
            failed++;
            Throwable cause = error instanceof ExecutionException && error.getCause() != null ? error.getCause() : error;
            var at = Arrays.stream(error.getStackTrace()).filter(frame -> frame.getClassName().startsWith("Interop")).findFirst();
            System.out.printf("FAIL java: %s: %s (line %s)%n", what, cause.toString().replace('\n', ' '), at.map(StackTraceElement::getLineNumber).orElse(0));
        }
    }

    static void same(Object found, Object wanted, String what) {
        if (Objects.equals(found, wanted)) return;
        String left = String.valueOf(found), right = String.valueOf(wanted);
        throw new AssertionError(what + ": " + left.substring(0, Math.min(300, left.length())) + " for " + right.substring(0, Math.min(300, right.length())));
    }

    static String hex(byte[] raw) { return raw == null ? null : HexFormat.of().formatHex(raw); }

    static byte[] raw(String hex) { return hex == null ? null : HexFormat.of().parseHex(hex); }

    static String text(String text) { return hex(text.getBytes(StandardCharsets.UTF_8)); }

    /** Records of every awkward shape, spread over the partitions; content in hex. */
    static List<Rec> samples(int count, int partitions) {
        byte[] noise = new byte[700];
        new Random(7).nextBytes(noise);
        var shapes = List.of(
            new Rec(0, text("key"), text("value"), List.of(), 0), new Rec(0, null, text("no key"), List.of(), 0), new Rec(0, text("tombstone"), null, List.of(), 0),
            new Rec(0, text("empty"), "", List.of(), 0), new Rec(0, "", text("empty key"), List.of(), 0), new Rec(0, null, null, List.of(), 0),
            new Rec(0, text("h"), text("headers"), List.of("a=31", "a=32", "b=", "a=31", "n"), 0), new Rec(0, "00ff", hex(noise), List.of("bin=00ff"), 0),
            new Rec(0, text("schlüssel"), text("wert 😀"), List.of("köpf=" + text("€")), 0), new Rec(0, text("long"), text("x".repeat(5000)), List.of(), 0));
        return IntStream.range(0, count).mapToObj(at -> {
            Rec shape = shapes.get(at % shapes.size());
            return new Rec(at % partitions, shape.key, shape.value, shape.headers, START + at);
        }).toList();
    }

    static String topic(String name, int partitions, String... configs) throws Exception {
        String topic = prefix + name;
        Map<String, String> settings = new HashMap<>();
        for (int at = 0; at < configs.length; at += 2) settings.put(configs[at], configs[at + 1]);
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(settings))).all().get();
        until(() -> partitions(topic) == partitions);
        // Kafka answers for a partition a little later than it tells of it, and a producer that asks in between may stall for long.
        admin.listOffsets(places(topic, partitions).stream().collect(Collectors.toMap(place -> place, place -> OffsetSpec.latest()))).all().get();
        return topic;
    }

    static void until(Callable<Boolean> condition) throws Exception {
        for (int at = 0; at < 400; at++) {
            if (condition.call()) return;
            Thread.sleep(50);
        }
        throw new AssertionError("waited 20 s in vain");
    }

    static int partitions(String topic) throws Exception {
        try {
            return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof UnknownTopicOrPartitionException) return 0;
            throw error;
        }
    }

    static List<RecordMetadata> produce(String topic, List<Rec> records, Object... settings) throws Exception {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", address, "max.request.size", 2_000_000, "linger.ms", 5, "delivery.timeout.ms", 30_000, "request.timeout.ms", 10_000));
        for (int at = 0; at < settings.length; at += 2) config.put((String) settings[at], settings[at + 1]);
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            var sent = new ArrayList<Future<RecordMetadata>>();
            for (Rec record : records) {
                var headers = record.headers.stream().map(header -> {
                    String[] parts = header.split("=", -1);
                    return (Header) new RecordHeader(parts[0], parts.length == 1 ? null : raw(parts[1]));
                }).toList();
                sent.add(producer.send(new ProducerRecord<>(topic, record.partition, record.timestamp, raw(record.key), raw(record.value), headers)));
            }
            producer.flush();
            var places = new ArrayList<RecordMetadata>();
            for (var future : sent) places.add(future.get());
            return places;
        }
    }

    static KafkaConsumer<byte[], byte[]> consumer(Object... settings) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", address, "auto.offset.reset", "none", "enable.auto.commit", false));
        for (int at = 0; at < settings.length; at += 2) config.put((String) settings[at], settings[at + 1]);
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static List<TopicPartition> places(String topic, int partitions) {
        return IntStream.range(0, partitions).mapToObj(at -> new TopicPartition(topic, at)).toList();
    }

    static List<Rec> poll(KafkaConsumer<byte[], byte[]> consumer, int count) {
        var found = new ArrayList<Rec>();
        Map<Integer, Long> next = new HashMap<>();
        long end = System.currentTimeMillis() + 20_000;
        while (found.size() < count && System.currentTimeMillis() < end) {
            for (var record : consumer.poll(Duration.ofMillis(200))) {
                Long due = next.put(record.partition(), record.offset() + 1);
                if (due != null) same(record.offset(), due, "offset");
                var headers = Arrays.stream(record.headers().toArray()).map(header -> header.key() + (header.value() == null ? "" : "=" + hex(header.value()))).toList();
                found.add(new Rec(record.partition(), hex(record.key()), hex(record.value()), headers, record.timestamp()));
            }
        }
        return found;
    }

    static void all(String topic, int partitions, List<Rec> sent, Object... settings) {
        try (var consumer = consumer(settings)) {
            consumer.assign(places(topic, partitions));
            consumer.seekToBeginning(places(topic, partitions));
            compare(poll(consumer, sent.size()), sent, partitions);
        }
    }

    static void compare(List<Rec> found, List<Rec> wanted, int partitions) {
        same(found.size(), wanted.size(), "number of records");
        for (int at = 0; at < partitions; at++) {
            int partition = at;
            same(found.stream().filter(record -> record.partition == partition).toList(), wanted.stream().filter(record -> record.partition == partition).toList(), "partition " + at);
        }
    }

    static void everyShape(String codec) throws Exception {
        String topic = topic(codec, 3);
        var sent = samples(300, 3);
        var places = produce(topic, sent, "compression.type", codec);
        for (int at = 0; at < places.size(); at++) same(places.get(at).offset(), (long) at / 3, "acknowledged offset of " + at);
        all(topic, 3, sent);
        all(topic, 3, sent, "isolation.level", "read_committed");
        all(topic, 3, sent, "max.partition.fetch.bytes", 1, "fetch.max.bytes", 1);
    }

    static void acks(String acks) throws Exception {
        String topic = topic("acks-" + acks, 1);
        var sent = samples(50, 1);
        produce(topic, sent, "acks", acks, "enable.idempotence", false);
        all(topic, 1, sent);
    }

    static void manyBatches() throws Exception {
        String topic = topic("batches", 4);
        var sent = samples(2000, 4);
        produce(topic, sent, "batch.size", 200, "linger.ms", 0, "acks", "all");
        all(topic, 4, sent);
    }

    static void large() throws Exception {
        String topic = topic("large", 1);
        var noise = new Random(3);
        var sent = IntStream.range(0, 8).mapToObj(at -> {
            byte[] value = new byte[1_000_000 + at];
            noise.nextBytes(value);
            return new Rec(0, null, hex(value), List.of(), START + at);
        }).toList();
        produce(topic, sent);
        all(topic, 1, sent);
    }

    static void manyPartitions() throws Exception {
        String topic = topic("hundred", 100);
        var sent = samples(2000, 100);
        produce(topic, sent);
        all(topic, 100, sent);
        try (var consumer = consumer()) {
            same(new HashSet<>(consumer.endOffsets(places(topic, 100)).values()), Set.of(20L), "end offsets");
            same(new HashSet<>(consumer.beginningOffsets(places(topic, 100)).values()), Set.of(0L), "beginning offsets");
        }
    }

    static void fromTheEnd() throws Exception {
        String topic = topic("end", 1);
        var sent = samples(20, 1);
        produce(topic, sent.subList(0, 10));
        try (var consumer = consumer()) {
            consumer.assign(places(topic, 1));
            consumer.seekToEnd(places(topic, 1));
            same(consumer.position(places(topic, 1).get(0)), 10L, "position");
            consumer.poll(Duration.ofMillis(100));
            produce(topic, sent.subList(10, 20));
            compare(poll(consumer, 10), sent.subList(10, 20), 1);
        }
    }

    static void fromAnOffset() throws Exception {
        String topic = topic("offset", 1);
        var place = places(topic, 1).get(0);
        var sent = samples(100, 1);
        for (int at = 0; at < 100; at += 20) produce(topic, sent.subList(at, at + 20));
        for (int at : new int[] {0, 1, 19, 20, 57, 99}) {
            try (var consumer = consumer()) {
                consumer.assign(List.of(place));
                consumer.seek(place, at);
                compare(poll(consumer, 100 - at), sent.subList(at, 100), 1);
                var found = consumer.offsetsForTimes(Map.of(place, START + at)).get(place);
                same(found.offset() + "@" + found.timestamp(), at + "@" + (START + at), "offset for a time");
                same(consumer.offsetsForTimes(Map.of(place, START + 1000)).get(place), null, "offset for a time after all");
            }
        }
        try (var consumer = consumer()) {
            consumer.assign(List.of(place));
            consumer.seek(place, 500);
            try {
                consumer.poll(Duration.ofSeconds(10));
                throw new AssertionError("an offset out of range was read");
            } catch (org.apache.kafka.clients.consumer.OffsetOutOfRangeException expected) {
                same(expected.partitions(), Set.of(place), "out of range");
            }
        }
    }

    static void offsets() throws Exception {
        String topic = topic("offsets", 1);
        var place = places(topic, 1).get(0);
        produce(topic, samples(30, 1));
        produce(topic, List.of(new Rec(0, null, text("latest in time"), List.of(), START + 9000), new Rec(0, null, text("last"), List.of(), START + 50)));
        var wanted = new LinkedHashMap<OffsetSpec, Long>();
        wanted.put(OffsetSpec.earliest(), 0L);
        wanted.put(OffsetSpec.latest(), 32L);
        wanted.put(OffsetSpec.maxTimestamp(), 30L);
        wanted.put(OffsetSpec.forTimestamp(START + 7), 7L);
        wanted.put(OffsetSpec.forTimestamp(START + 9001), -1L);
        wanted.put(OffsetSpec.earliestLocal(), 0L);
        wanted.put(OffsetSpec.latestTiered(), -1L);
        for (var entry : wanted.entrySet())
            same(admin.listOffsets(Map.of(place, entry.getKey())).partitionResult(place).get().offset(), entry.getValue(), entry.getKey().getClass().getSimpleName());
    }

    static void deleted() throws Exception {
        String topic = topic("gone", 2);
        produce(topic, samples(20, 2));
        admin.deleteTopics(List.of(topic)).all().get();
        until(() -> partitions(topic) == 0);
        topic("gone", 1);
        try (var consumer = consumer()) {
            same(consumer.endOffsets(places(topic, 1)).get(places(topic, 1).get(0)), 0L, "end of the new one");
        }
        produce(topic, samples(20, 1));
        all(topic, 1, samples(20, 1));
        var id = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
        same(admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get().get(id).name(), topic, "name by id");
        admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
        until(() -> partitions(topic) == 0);
    }

    static void recordsDeleted() throws Exception {
        String topic = topic("trimmed", 1);
        var place = places(topic, 1).get(0);
        var sent = samples(30, 1);
        produce(topic, sent);
        same(admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(12))).lowWatermarks().get(place).get().lowWatermark(), 12L, "low watermark");
        all(topic, 1, sent.subList(12, 30));
    }

    static void partitionsAdded() throws Exception {
        String topic = topic("grown", 2);
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(7))).all().get();
        until(() -> partitions(topic) == 7);
        var sent = samples(70, 7);
        produce(topic, sent);
        all(topic, 7, sent);
    }

    static void configs() throws Exception {
        String topic = topic("configured", 1, "cleanup.policy", "compact", "max.message.bytes", "2000");
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var found = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        same(found.get("cleanup.policy").value() + " " + found.get("cleanup.policy").source(), "compact DYNAMIC_TOPIC_CONFIG", "cleanup.policy");
        same(found.get("retention.ms").value() + " " + found.get("retention.ms").isDefault(), "604800000 true", "retention.ms");
        altered(resource);
        ofAGroup(new ConfigResource(ConfigResource.Type.GROUP, topic));
    }

    static void altered(ConfigResource resource) throws Exception {
        admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "9000"), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry("max.message.bytes", null), AlterConfigOp.OpType.DELETE), new AlterConfigOp(new ConfigEntry("cleanup.policy", "delete"), AlterConfigOp.OpType.APPEND)))).all().get();
        until(() -> admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value().equals("9000"));
        var changed = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        same(changed.get("cleanup.policy").value() + " " + changed.get("max.message.bytes").value(), "compact,delete 1048588", "changed");
        var bad = Map.of(resource, (Collection<AlterConfigOp>) List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET)));
        fails(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(bad).all().get());
    }

    static void ofAGroup(ConfigResource group) throws Exception {
        String name = "consumer.session.timeout.ms";
        var node = new ConfigResource(ConfigResource.Type.BROKER, admin.describeCluster().nodes().get().iterator().next().idString());
        String wanted = admin.describeConfigs(List.of(node)).all().get().get(node).get("group." + name).value();
        same(admin.describeConfigs(List.of(group)).all().get().get(group).get(name).value(), wanted, "of a group that does not exist");
        admin.incrementalAlterConfigs(Map.of(group, List.of(new AlterConfigOp(new ConfigEntry(name, "50000"), AlterConfigOp.OpType.SET)))).all().get();
        until(() -> admin.describeConfigs(List.of(group)).all().get().get(group).get(name).value().equals("50000"));
        var listed = admin.listConfigResources(Set.of(ConfigResource.Type.GROUP), new ListConfigResourcesOptions()).all().get();
        same(listed.contains(group), true, "listed");
    }

    static void errors() throws Exception {
        String small = topic("small", 1, "max.message.bytes", "1000"), compacted = topic("compacted", 1, "cleanup.policy", "compact");
        fails(RecordTooLargeException.class, () -> produce(small, List.of(new Rec(0, null, "00".repeat(3000), List.of(), START))));
        fails(InvalidRecordException.class, () -> produce(compacted, List.of(new Rec(0, null, text("no key"), List.of(), START))));
        fails(TopicExistsException.class, () -> topic("small", 1));
        fails(InvalidTopicException.class, () -> topic("a b", 1));
        fails(InvalidPartitionsException.class, () -> topic("zero", 0));
        fails(InvalidReplicationFactorException.class, () -> admin.createTopics(List.of(new NewTopic(prefix + "replicas", 1, (short) 9))).all().get());
        fails(InvalidConfigurationException.class, () -> topic("config", 1, "no.such.config", "1"));
        fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(prefix + "missing")).all().get());
        fails(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(small, NewPartitions.increaseTo(1))).all().get());
        fails(org.apache.kafka.common.errors.OffsetOutOfRangeException.class, () -> admin.deleteRecords(Map.of(new TopicPartition(small, 0), RecordsToDelete.beforeOffset(99))).all().get());
    }

    static void fails(Class<?> wanted, Check check) throws Exception {
        try {
            check.run();
        } catch (ExecutionException error) {
            same(error.getCause().getClass(), wanted, "kind of error");
            return;
        }
        throw new AssertionError("no " + wanted.getSimpleName());
    }

    static void described() throws Exception {
        String topic = topic("described", 3);
        var found = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        var cluster = admin.describeCluster();
        var nodes = cluster.nodes().get().stream().map(Node::id).collect(Collectors.toSet());
        same(found.partitions().stream().allMatch(part -> nodes.contains(part.leader().id()) && part.replicas().size() == 1 && part.isr().size() == 1), true, "leaders are nodes");
        same(nodes.contains(cluster.controller().get().id()) && !cluster.clusterId().get().isEmpty(), true, "controller and cluster id");
        same(admin.listTopics().names().get().contains(topic), true, "is listed");
        same(found.topicId().equals(Uuid.ZERO_UUID), false, "has an id");
    }
}
