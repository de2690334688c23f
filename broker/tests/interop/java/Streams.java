import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

/**
 * Kafka Streams, at least once: words are counted, by instances that come and go.   java -cp CLASSES:'JARS/*' Streams HOST:PORT
 *
 * The counts live in RocksDB, in a changelog and in the output. An instance that stops in order leaves counts that are exact; after one
 * that does not, a word may be counted again, but none is missed.
 */
public class Streams extends Checks {
    static final int PARTITIONS = 3;
    static final List<String> WORDS = List.of("mill", "stream", "wheel", "grain", "flour", "stone", "weir", "sluice", "race", "pond");
    static String address, id, lines, counts;
    static Admin admin;
    static KafkaProducer<String, String> producer;
    static KafkaConsumer<String, Long> reader;
    static Path folder;
    static final Map<String, Long> sent = new TreeMap<>(), found = new TreeMap<>();
    static final Random random = new Random(1);

    public static void main(String[] args) throws Exception {
        address = args[0];
        client = "streams";
        id = "streams-" + ProcessHandle.current().pid() + "-" + System.currentTimeMillis() % 100000;
        lines = id + "-lines";
        counts = id + "-counts";
        folder = Files.createTempDirectory("streams");
        admin = Admin.create(Map.of("bootstrap.servers", address));
        producer = new KafkaProducer<>(Map.of("bootstrap.servers", address, "linger.ms", 5), new StringSerializer(), new StringSerializer());
        reader = new KafkaConsumer<>(Map.of("bootstrap.servers", address), new StringDeserializer(), new LongDeserializer());
        admin.createTopics(List.of(new NewTopic(lines, PARTITIONS, (short) 1), new NewTopic(counts, PARTITIONS, (short) 1))).all().get();
        var places = IntStream.range(0, PARTITIONS).mapToObj(at -> new TopicPartition(counts, at)).toList();
        reader.assign(places);
        reader.seekToBeginning(places);
        check("words are counted", Streams::counted);
        check("internal topics are as they should be", Streams::internal);
        check("a restart begins with an empty disk and goes on counting", Streams::restarted);
        check("two instances share, and one ends", Streams::shared);
        check("an instance that is gone without a word", Streams::gone);
        check("the application is reset", Streams::reset);
        try (var files = Files.walk(folder)) { files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete()); }
        end();
    }

    static KafkaStreams instance(String name) throws Exception {
        var builder = new StreamsBuilder();
        builder.stream(lines, Consumed.with(Serdes.String(), Serdes.String())).flatMapValues(line -> List.of(line.split(" "))).groupBy((key, word) -> word, Grouped.with("words", Serdes.String(), Serdes.String()))
            .count(Materialized.as("counted")).toStream().to(counts, Produced.with(Serdes.String(), Serdes.Long()));
        var settings = new Properties();
        settings.putAll(Map.of("application.id", id, "bootstrap.servers", address, "state.dir", folder.resolve(name).toString(), "commit.interval.ms", 200, "num.stream.threads", 1, "repartition.purge.interval.ms", 500,
            "default.key.serde", Serdes.StringSerde.class, "default.value.serde", Serdes.StringSerde.class));
        settings.putAll(Map.of("auto.offset.reset", "earliest", "consumer.session.timeout.ms", 6000, "consumer.heartbeat.interval.ms", 300, "statestore.cache.max.bytes", 0, "metadata.max.age.ms", 1000));
        var streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        return streams;
    }

    static void feed(int count) {
        for (int at = 0; at < count; at++) {
            var line = random.ints(1 + random.nextInt(6), 0, WORDS.size()).mapToObj(WORDS::get).toList();
            line.forEach(word -> sent.merge(word, 1L, Long::sum));
            producer.send(new ProducerRecord<>(lines, at % PARTITIONS, null, String.join(" ", line)));
        }
        producer.flush();
    }

    /** The newest count of each word; none may ever go down. */
    static Map<String, Long> now() {
        for (var record : reader.poll(Duration.ofMillis(100))) found.merge(record.key(), record.value(), (before, after) -> {
            if (after < before) throw new AssertionError(record.key() + " goes from " + before + " to " + after);
            return after;
        });
        return new TreeMap<>(found);
    }

    static void stop(KafkaStreams streams, boolean leaves) {
        var how = leaves ? CloseOptions.GroupMembershipOperation.LEAVE_GROUP : CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP;
        same(streams.close(CloseOptions.timeout(Duration.ofSeconds(60)).withGroupMembershipOperation(how)), true, "stopped in time");
    }

    static void counted() throws Exception {
        var streams = instance("first");
        try {
            feed(500);
            becomes(Streams::now, sent, "counts");
            feed(500);
            becomes(Streams::now, sent, "counts of more");
            // What the state store says.
            var store = streams.store(StoreQueryParameters.fromNameAndType("counted", org.apache.kafka.streams.state.QueryableStoreTypes.<String, Long>keyValueStore()));
            Map<String, Long> stored = new TreeMap<>();
            try (var all = store.all()) { all.forEachRemaining(entry -> stored.put(entry.key, entry.value)); }
            same(stored, sent, "stored");
            // What was read through is deleted behind.
            var through = IntStream.range(0, PARTITIONS).boxed().collect(Collectors.toMap(at -> new TopicPartition(id + "-words-repartition", at), at -> OffsetSpec.earliest()));
            becomes(() -> admin.listOffsets(through).all().get().values().stream().mapToLong(place -> place.offset()).sum(), sent.values().stream().mapToLong(count -> count).sum(), "purged");
        } finally {
            stop(streams, true);
        }
        becomes(() -> admin.describeConsumerGroups(List.of(id)).all().get().get(id).groupState().toString(), "Empty", "state of the group");
    }

    static void internal() throws Exception {
        String changelog = id + "-counted-changelog", through = id + "-words-repartition";
        var resources = Stream.of(changelog, through).map(name -> new ConfigResource(ConfigResource.Type.TOPIC, name)).toList();
        var configs = admin.describeConfigs(resources).all().get();
        same(configs.get(resources.get(0)).get("cleanup.policy").value(), "compact", "policy of the changelog");
        same(configs.get(resources.get(1)).get("cleanup.policy").value() + " " + configs.get(resources.get(1)).get("retention.ms").value(), "delete -1", "policy and retention of what goes through");
        var topics = admin.describeTopics(List.of(changelog, through)).allTopicNames().get();
        same(topics.get(changelog).partitions().size() + " " + topics.get(through).partitions().size(), "3 3", "partitions");
    }

    static void restarted() throws Exception {
        feed(300);
        var streams = instance("second");
        try {
            becomes(Streams::now, sent, "counts");
        } finally {
            stop(streams, true);
        }
    }

    static void shared() throws Exception {
        var streams = List.of(instance("third"), instance("fourth"));
        try {
            // A standby or a restore may take some rebalances; in the end both work.
            becomes(() -> streams.stream().filter(each -> each.metadataForLocalThreads().stream().anyMatch(thread -> !thread.activeTasks().isEmpty())).count(), 2L, "instances with tasks");
            feed(300);
            becomes(Streams::now, sent, "counts");
            stop(streams.get(0), true);
            feed(300);
            becomes(Streams::now, sent, "counts of the one that is left");
        } finally {
            streams.forEach(each -> stop(each, true));
        }
    }

    static void gone() throws Exception {
        var first = instance("fifth");
        feed(100);
        becomes(Streams::now, sent, "counts");
        // It stops in order, but the group hears nothing of it until its session is over.
        stop(first, false);
        same(admin.describeConsumerGroups(List.of(id)).all().get().get(id).members().size(), 1, "members, with the one that is gone");
        feed(100);
        var second = instance("sixth");
        try {
            becomes(Streams::now, sent, "counts");
        } finally {
            stop(second, true);
        }
    }

    /** As kafka-streams-application-reset does: read again from the start. */
    static void reset() throws Exception {
        becomes(() -> admin.describeConsumerGroups(List.of(id)).all().get().get(id).groupState().toString(), "Empty", "state of the group");
        admin.deleteTopics(List.of(id + "-counted-changelog", id + "-words-repartition")).all().get();
        admin.deleteConsumerGroups(List.of(id)).all().get();
        // Another output, since the counts begin anew.
        found.clear();
        reader.seekToEnd(reader.assignment());
        reader.assignment().forEach(reader::position);
        becomes(() -> admin.listTopics().names().get().stream().filter(name -> name.startsWith(id + "-counted") || name.startsWith(id + "-words")).count(), 0L, "internal topics");
        var streams = instance("seventh");
        try {
            becomes(Streams::now, sent, "counts");
        } finally {
            stop(streams, true);
        }
    }
}
