import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.regex.Pattern;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/**
 * Apache Kafka's own client in consumer groups of both protocols.   java -cp CLASSES:'JARS/*' Groups HOST:PORT
 *
 * Members run on threads of their own while records keep coming. Those that are killed live in a process of their own.
 */
public class Groups extends Checks {
    static final int PARTITIONS = 6;
    static final CloseOptions.GroupMembershipOperation STAY = CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP, LEAVE = CloseOptions.GroupMembershipOperation.LEAVE_GROUP;
    static String address, prefix;
    static Admin admin;
    static KafkaProducer<byte[], byte[]> producer;
    static Victims victims;

    /** The protocol and assignor of a group's members. */
    enum Kind {
        RANGE("range", "classic, range", Map.of("group.protocol", "classic", "partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor")),
        COOPERATIVE("cooperative-sticky", "classic, cooperative-sticky", Map.of("group.protocol", "classic", "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor")),
        UNIFORM("uniform", "consumer, uniform", Map.of("group.protocol", "consumer", "group.remote.assignor", "uniform")),
        NEW_RANGE("range", "consumer, range", Map.of("group.protocol", "consumer", "group.remote.assignor", "range"));

        final String assignor, label;
        final Map<String, Object> settings;

        Kind(String assignor, String label, Map<String, Object> settings) {
            this.assignor = assignor;
            this.label = label;
            this.settings = new HashMap<>(settings);
            // Of the new protocol's members the broker decides.
            if (isClassic()) this.settings.putAll(Map.of("session.timeout.ms", 10_000, "heartbeat.interval.ms", 300));
        }

        boolean isClassic() { return name().equals("RANGE") || name().equals("COOPERATIVE"); }
    }

    public static void main(String[] args) throws Exception {
        address = args[0];
        if (args.length > 1) {
            Victims.live();
            return;
        }
        client = "java-groups";
        prefix = "groups-" + ProcessHandle.current().pid() + "-" + System.currentTimeMillis() % 100000 + "-";
        admin = Admin.create(Map.of("bootstrap.servers", address));
        producer = new KafkaProducer<>(Map.of("bootstrap.servers", address, "linger.ms", 2), new ByteArraySerializer(), new ByteArraySerializer());
        victims = new Victims(Kind.values().length);
        var checks = new Several();
        for (Kind kind : Kind.values()) checks.add("members join, leave and are killed; " + kind.label, () -> comingAndGoing(kind));
        checks.add("online from classic to consumer and back", Groups::migration);
        for (Kind kind : List.of(Kind.RANGE, Kind.COOPERATIVE, Kind.UNIFORM)) checks.add("static members; " + kind.label, () -> staticMembers(kind));
        checks.add("regular expression, resolved by the broker", Groups::brokersRegex);
        checks.add("regular expression, resolved by the client", Groups::clientsRegex);
        for (Kind kind : List.of(Kind.RANGE, Kind.UNIFORM)) {
            checks.add("commits of every way, and resumption; " + kind.label, () -> commits(kind));
            checks.add("where a group without offsets begins; " + kind.label, () -> resets(kind));
            checks.add("errors have their own types; " + kind.label, () -> errors(kind));
            checks.add("listed and described; " + kind.label, () -> described(kind));
            checks.add("one who stops polling is out; " + kind.label, () -> lazy(kind));
        }
        checks.add("a group by hand: offsets altered, listed, deleted, and the group", Groups::byHand);
        checks.add("offsets of many groups at once", Groups::manyGroups);
        checks.add("members removed by an admin", Groups::removed);
        checks.add("partitions added to a subscribed topic", Groups::grown);
        checks.add("a group's own settings", Groups::ownSettings);
        checks.run(5);
        producer.close();
        admin.close();
        end();
    }

    static String topic(String name, int partitions) throws Exception {
        String topic = prefix + name;
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        // Kafka answers for a partition a little later than it tells of it.
        becomes(() -> {
            try {
                return admin.listOffsets(places(topic, partitions).stream().collect(Collectors.toMap(place -> place, place -> OffsetSpec.latest()))).all().get().size();
            } catch (ExecutionException error) {
                if (error.getCause() instanceof UnknownTopicOrPartitionException) return 0;
                throw error;
            }
        }, partitions, "partitions of " + topic);
        return topic;
    }

    static List<TopicPartition> places(String topic, int partitions) { return IntStream.range(0, partitions).mapToObj(at -> new TopicPartition(topic, at)).toList(); }

    /** The value names partition and offset, so that no record can stand for another. */
    static void produce(String topic, int partition, int from, int count, long timestamp) throws Exception {
        var sent = new ArrayList<Future<RecordMetadata>>();
        for (int at = from; at < from + count; at++) sent.add(producer.send(new ProducerRecord<>(topic, partition, timestamp, null, (partition + "/" + at).getBytes(StandardCharsets.UTF_8))));
        producer.flush();
        for (int at = 0; at < count; at++) same(sent.get(at).get().offset(), (long) from + at, "offset of what was sent");
    }

    static KafkaConsumer<byte[], byte[]> consumer(String group, Kind kind, Object... settings) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", address, "auto.offset.reset", "earliest", "enable.auto.commit", false, "fetch.max.wait.ms", 100, "client.id", "interop"));
        if (group != null) config.put("group.id", group);
        config.putAll(kind.settings);
        for (int at = 0; at < settings.length; at += 2) config.put((String) settings[at], settings[at + 1]);
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static void close(KafkaConsumer<?, ?> consumer, CloseOptions.GroupMembershipOperation how) {
        consumer.close(CloseOptions.timeout(Duration.ofSeconds(30)).withGroupMembershipOperation(how));
    }

    /** What a group has read of a topic: each record at least once, and nobody goes past one that nobody has read. */
    static class Tally {
        final Map<TopicPartition, Long> next = new HashMap<>();
        final List<String> wrong = new ArrayList<>();
        long read, again;

        synchronized void take(ConsumerRecord<byte[], byte[]> record) {
            var place = new TopicPartition(record.topic(), record.partition());
            long due = next.getOrDefault(place, 0L);
            if (record.offset() > due) wrong.add(place + ": " + due + " skipped, " + record.offset() + " read");
            String value = new String(record.value(), StandardCharsets.UTF_8);
            if (!value.equals(record.partition() + "/" + record.offset())) wrong.add(place + ": " + record.offset() + " is " + value);
            next.put(place, Math.max(due, record.offset() + 1));
            read++;
            if (record.offset() < due) again++;
        }

        synchronized Map<TopicPartition, Long> next() { return new HashMap<>(next); }

        synchronized long read() { return read; }
    }

    /** Writes to a topic until it is closed. */
    static final class Feed extends Thread implements AutoCloseable {
        final String topic;
        final int partitions;
        final long[] sent;
        volatile boolean ending;
        volatile Throwable broken;

        Feed(String topic, int partitions) {
            this.topic = topic;
            this.partitions = partitions;
            this.sent = new long[partitions];
            setDaemon(true);
            start();
        }

        public void run() {
            try {
                for (int at = 0; !ending; at++) {
                    int partition = at % partitions;
                    var value = (partition + "/" + sent[partition]).getBytes(StandardCharsets.UTF_8);
                    producer.send(new ProducerRecord<>(topic, partition, null, value), (place, error) -> { if (error != null) broken = error; });
                    sent[partition]++;
                    Thread.sleep(5);
                }
                producer.flush();
            } catch (Throwable error) {
                broken = error;
            }
        }

        public void close() throws Exception {
            ending = true;
            join();
            if (broken != null) throw new AssertionError("producing failed", broken);
        }

        Map<TopicPartition, Long> ends() { return IntStream.range(0, partitions).boxed().collect(Collectors.toMap(at -> new TopicPartition(topic, at), at -> sent[at])); }
    }

    /** A consumer on a thread of its own which reads, notes what it read, and commits. */
    static final class Member extends Thread implements ConsumerRebalanceListener, AutoCloseable {
        final KafkaConsumer<byte[], byte[]> consumer;
        final Tally tally;
        final Queue<FutureTask<?>> asked = new ConcurrentLinkedQueue<>();
        volatile Set<TopicPartition> owned = Set.of();
        volatile CloseOptions.GroupMembershipOperation ending;
        volatile Throwable broken;
        /** How many partitions each revocation took. */
        final List<Integer> revoked = new CopyOnWriteArrayList<>();

        Member(Tally tally, Collection<String> topics, String group, Kind kind, Object... settings) {
            this.tally = tally;
            this.consumer = consumer(group, kind, settings);
            if (topics.isEmpty()) throw new IllegalArgumentException("no topics");
            consumer.subscribe(topics, this);
            setDaemon(true);
            start();
        }

        public void onPartitionsAssigned(Collection<TopicPartition> places) {}

        public void onPartitionsRevoked(Collection<TopicPartition> places) {
            if (places.isEmpty()) return;
            revoked.add(places.size());
            if (ending != STAY) commit();
        }

        public void onPartitionsLost(Collection<TopicPartition> places) {}

        private void commit() {
            try {
                consumer.commitSync();
            } catch (CommitFailedException | RebalanceInProgressException tooLate) {
                // Others will read it again.
            }
        }

        public void run() {
            try {
                while (ending == null) {
                    for (FutureTask<?> task = asked.poll(); task != null; task = asked.poll()) task.run();
                    var records = consumer.poll(Duration.ofMillis(50));
                    records.forEach(tally::take);
                    if (!records.isEmpty()) commit();
                    owned = Set.copyOf(consumer.assignment());
                }
            } catch (Throwable error) {
                broken = error;
            }
            owned = Set.of();
            try {
                Groups.close(consumer, ending == null ? LEAVE : ending);
            } catch (Throwable error) {
                if (broken == null) broken = error;
            }
        }

        /** Runs it on the member's thread, between two polls. */
        <T> T ask(Callable<T> question) throws Exception {
            var task = new FutureTask<>(question);
            asked.add(task);
            return task.get(60, TimeUnit.SECONDS);
        }

        void end(CloseOptions.GroupMembershipOperation how) throws Exception {
            ending = how;
            join();
            if (broken != null) throw new AssertionError("a member broke", broken);
        }

        public void close() throws Exception {
            if (ending == null) ending = LEAVE;
            join();
        }

        /** Its partitions, as numbers. */
        List<Integer> partitions() { return owned.stream().map(TopicPartition::partition).sorted().toList(); }
    }

    /** Members in a process of their own, one of each kind, which is killed with SIGKILL when all of them are at work. */
    static final class Victims {
        final Process process;
        final Phaser ready;
        final Map<String, Tally> tallies = new ConcurrentHashMap<>();
        final Map<String, Long> read = new ConcurrentHashMap<>();
        final Thread listener;

        Victims(int count) throws Exception {
            process = new ProcessBuilder(ProcessHandle.current().info().command().get(), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"), "Groups", address, "victims")
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
            Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
            listener = new Thread(this::listen);
            listener.setDaemon(true);
            listener.start();
            ready = new Phaser(count) {
                protected boolean onAdvance(int phase, int parties) {
                    // The process closes its output itself; what is in there is to be read.
                    process.toHandle().destroyForcibly();
                    return true;
                }
            };
        }

        /** In the process: a member for each line; each record is told before it is committed. */
        static void live() throws Exception {
            var lines = new Scanner(System.in);
            while (lines.hasNext()) {
                var kind = Kind.valueOf(lines.next());
                String topic = lines.next(), group = lines.next();
                new Member(new Tally() {
                    synchronized void take(ConsumerRecord<byte[], byte[]> record) {
                        synchronized (System.out) {
                            System.out.println(record.topic() + " " + record.partition() + " " + record.offset() + " " + new String(record.value(), StandardCharsets.UTF_8) + " .");
                        }
                    }
                }, List.of(topic), group, kind);
            }
        }

        private void listen() {
            try (var lines = new java.io.BufferedReader(new java.io.InputStreamReader(process.getInputStream()))) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    var parts = line.split(" ");
                    // The last line may be cut short by the kill; what it tells of was not committed then.
                    if (parts.length < 5) break;
                    tallies.get(parts[0]).take(new ConsumerRecord<>(parts[0], Integer.parseInt(parts[1]), Long.parseLong(parts[2]), null, parts[3].getBytes(StandardCharsets.UTF_8)));
                    read.merge(parts[0], 1L, Long::sum);
                }
            } catch (java.io.IOException gone) {
                // So is the process.
            }
        }

        void join(Kind kind, String topic, String group, Tally tally) throws Exception {
            tallies.put(topic, tally);
            synchronized (this) {
                process.getOutputStream().write((kind + " " + topic + " " + group + "\n").getBytes(StandardCharsets.UTF_8));
                process.getOutputStream().flush();
            }
        }

        long read(String topic) { return read.getOrDefault(topic, 0L); }

        /** Waits until all are to die, and are dead. */
        void die() throws Exception {
            ready.arriveAndAwaitAdvance();
            process.waitFor();
            listener.join();
        }
    }

    /** Everything is owned once, by so many each. */
    static void spread(Collection<Member> members, int partitions, Integer... sizes) throws Exception {
        becomes(() -> {
            for (Member member : members) if (member.broken != null) throw new AssertionError("a member broke", member.broken);
            return members.stream().flatMap(member -> member.owned.stream()).map(TopicPartition::toString).sorted().toList().size() + " " + members.stream().flatMap(member -> member.owned.stream()).distinct().count()
                + " " + members.stream().map(member -> member.owned.size()).sorted().toList();
        }, partitions + " " + partitions + " " + List.of(sizes), "partitions held, different ones, and by each");
    }

    /** More is read than until now. */
    static void goesOn(Tally tally) throws Exception {
        long before = tally.read();
        becomes(() -> tally.read() > before + 50, true, "more is read");
    }

    static Map<TopicPartition, Long> committed(String group) throws Exception {
        Map<TopicPartition, Long> found = new HashMap<>();
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((place, offset) -> { if (offset != null) found.put(place, offset.offset()); });
        return found;
    }

    /** All was read, nothing passed over, and the group's offsets stand at the end. */
    static void settle(Tally tally, Feed feed, String group) throws Exception {
        feed.close();
        becomes(tally::next, feed.ends(), "read up to");
        same(tally.wrong, List.of(), "skipped or altered");
        becomes(() -> committed(group), feed.ends(), "committed");
    }

    static String state(String group) throws Exception {
        var found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        return found.type() + " " + found.groupState() + " " + found.members().size();
    }

    static void comingAndGoing(Kind kind) throws Exception {
        String topic = topic("coming-" + kind, PARTITIONS), group = prefix + "coming-" + kind;
        var tally = new Tally();
        var members = new ArrayList<Member>();
        try (var feed = new Feed(topic, PARTITIONS)) {
            for (int at = 0; at < 3; at++) {
                members.add(new Member(tally, List.of(topic), group, kind));
                spread(members, PARTITIONS, at == 0 ? new Integer[] {6} : at == 1 ? new Integer[] {3, 3} : new Integer[] {2, 2, 2});
                // Only eager members give up what they may keep.
                if (at == 1) same(members.get(0).revoked.get(0), kind == Kind.RANGE ? 6 : 3, "taken from the first by the second");
            }
            if (kind.assignor.equals("range"))
                for (Member member : members) same(member.partitions().get(1), member.partitions().get(0) + 1, "two in a row of " + member.partitions());
            goesOn(tally);
            members.remove(1).end(LEAVE);
            spread(members, PARTITIONS, 3, 3);
            goesOn(tally);
            // Nothing is taken from the victim before it dies, so what it read is told before others read it.
            victims.join(kind, topic, group, tally);
            becomes(() -> members.stream().map(member -> member.owned.size()).toList(), List.of(2, 2), "partitions left by the victim");
            becomes(() -> state(group), (kind.isClassic() ? "Classic" : "Consumer") + " Stable 3", "with the victim");
            becomes(() -> victims.read(topic) > 50, true, "the victim reads");
            victims.die();
            same(state(group), (kind.isClassic() ? "Classic" : "Consumer") + " Stable 3", "the dead one is a member until its time is over");
            spread(members, PARTITIONS, 3, 3);
            goesOn(tally);
            members.remove(1).end(LEAVE);
            spread(members, PARTITIONS, 6);
            goesOn(tally);
            members.add(new Member(tally, List.of(topic), group, kind));
            spread(members, PARTITIONS, 3, 3);
            goesOn(tally);
            settle(tally, feed, group);
            for (Member member : members) member.end(LEAVE);
            becomes(() -> state(group), (kind.isClassic() ? "Classic" : "Consumer") + " Empty 0", "state");
            same(committed(group), feed.ends(), "committed, once all are gone");
        } finally {
            // The others' victims need not wait for ours.
            if (victims.ready.getPhase() == 0) victims.ready.arriveAndDeregister();
            for (Member member : members) member.close();
        }
    }

    static void migration() throws Exception {
        String topic = topic("migration", PARTITIONS), group = prefix + "migration";
        var tally = new Tally();
        var members = new ArrayList<Member>();
        try (var feed = new Feed(topic, PARTITIONS)) {
            // Each step: who joins or leaves, then what the group is.
            for (Kind kind : List.of(Kind.COOPERATIVE, Kind.RANGE)) {
                members.add(new Member(tally, List.of(topic), group, Kind.COOPERATIVE));
                members.add(new Member(tally, List.of(topic), group, Kind.COOPERATIVE));
                spread(members, PARTITIONS, 3, 3);
                becomes(() -> state(group), "Classic Stable 2", "before");
                members.add(new Member(tally, List.of(topic), group, kind == Kind.RANGE ? Kind.NEW_RANGE : Kind.UNIFORM));
                spread(members, PARTITIONS, 2, 2, 2);
                becomes(() -> state(group), "Consumer Stable 3", "a member of the new protocol is there");
                var upgraded = admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().stream().map(member -> member.upgraded().get()).sorted().toList();
                same(upgraded, List.of(false, false, true), "who speaks the new protocol");
                goesOn(tally);
                members.remove(0).end(LEAVE);
                spread(members, PARTITIONS, 3, 3);
                members.remove(0).end(LEAVE);
                spread(members, PARTITIONS, 6);
                becomes(() -> state(group), "Consumer Stable 1", "only the new protocol");
                goesOn(tally);
                members.add(new Member(tally, List.of(topic), group, Kind.COOPERATIVE));
                spread(members, PARTITIONS, 3, 3);
                becomes(() -> state(group), "Consumer Stable 2", "a member of the old protocol is there");
                goesOn(tally);
                members.remove(0).end(LEAVE);
                spread(members, PARTITIONS, 6);
                becomes(() -> state(group), "Classic Stable 1", "only the old protocol");
                goesOn(tally);
                members.remove(0).end(LEAVE);
            }
            members.add(new Member(tally, List.of(topic), group, Kind.UNIFORM));
            settle(tally, feed, group);
            becomes(() -> state(group), "Consumer Stable 1", "an empty group takes the protocol of who comes");
        } finally {
            for (Member member : members) member.close();
        }
    }

    static long epoch(Member member) throws Exception { return member.ask(() -> member.consumer.groupMetadata().generationId()); }

    static void staticMembers(Kind kind) throws Exception {
        String topic = topic("static-" + kind, PARTITIONS), group = prefix + "static-" + kind;
        // A long session, so that a slow machine does not put out the one that is away.
        Object[] first = kind.isClassic() ? new Object[] {"group.instance.id", "one", "session.timeout.ms", 60_000} : new Object[] {"group.instance.id", "one"};
        Object[] second = kind.isClassic() ? new Object[] {"group.instance.id", "two", "session.timeout.ms", 60_000} : new Object[] {"group.instance.id", "two"};
        var tally = new Tally();
        var members = new ArrayList<Member>();
        try (var feed = new Feed(topic, PARTITIONS)) {
            members.add(new Member(tally, List.of(topic), group, kind, first));
            members.add(new Member(tally, List.of(topic), group, kind, second));
            spread(members, PARTITIONS, 3, 3);
            goesOn(tally);
            becomes(() -> state(group), (kind.isClassic() ? "Classic" : "Consumer") + " Stable 2", "state");
            long epoch = epoch(members.get(0));
            int revocations = members.get(0).revoked.size();
            var held = members.get(1).partitions();
            members.get(1).end(STAY);
            members.set(1, new Member(tally, List.of(topic), group, kind, second));
            spread(members, PARTITIONS, 3, 3);
            same(members.get(1).partitions(), held, "partitions after the restart");
            goesOn(tally);
            same(epoch(members.get(0)) + " " + members.get(0).revoked.size(), epoch + " " + revocations, "epoch and revocations of the other");
            var ids = admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().stream().map(member -> member.groupInstanceId().get()).sorted().toList();
            same(ids, List.of("one", "two"), "instances");
            if (kind.isClassic()) {
                // The newer one is let in, and the older one told so.
                var older = members.get(1);
                var newer = new Member(tally, List.of(topic), group, kind, second);
                members.set(1, newer);
                becomes(() -> older.broken == null ? "" : older.broken.getClass().getSimpleName(), "FencedInstanceIdException", "what the older one is told");
                spread(members, PARTITIONS, 3, 3);
                // An admin puts out the one that is away.
                newer.end(STAY);
                members.remove(1);
                admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("two")))).all().get();
            } else {
                // The name is taken as long as its holder lives.
                try (var newer = new Member(tally, List.of(topic), group, kind, second)) {
                    becomes(() -> newer.broken == null ? "" : newer.broken.getClass().getSimpleName(), "UnreleasedInstanceIdException", "what the newer one is told");
                }
                same(members.get(1).partitions(), held, "partitions of the holder");
                members.remove(1).end(LEAVE);
            }
            spread(members, PARTITIONS, 6);
            settle(tally, feed, group);
        } finally {
            for (Member member : members) member.close();
        }
    }

    static Set<String> topics(KafkaConsumer<?, ?> consumer) {
        consumer.poll(Duration.ofMillis(100));
        return consumer.assignment().stream().map(place -> place.topic().substring(prefix.length())).collect(Collectors.toCollection(TreeSet::new));
    }

    static void brokersRegex() throws Exception {
        topic("re2-a", 1);
        topic("re2-b", 1);
        topic("re3-a", 1);
        String group = prefix + "regex";
        try (var consumer = consumer(group, Kind.UNIFORM); var named = consumer(group, Kind.UNIFORM)) {
            consumer.subscribe(new SubscriptionPattern(prefix + "re2-[a-c]{1}(x|)"));
            becomes(() -> topics(consumer), Set.of("re2-a", "re2-b"), "topics matched");
            topic("re2-c", 1);
            topic("re2-d", 1);
            topic("re2-cc", 1);
            becomes(() -> topics(consumer), Set.of("re2-a", "re2-b", "re2-c"), "topics matched, once there are more");
            named.subscribe(List.of(prefix + "re3-a"));
            becomes(() -> topics(named), Set.of("re3-a"), "topics of one who names them");
            becomes(() -> topics(consumer), Set.of("re2-a", "re2-b", "re2-c"), "topics of the other then");
            consumer.subscribe(new SubscriptionPattern(prefix + "re[23]-d|" + prefix + "re2-c"));
            becomes(() -> topics(consumer), Set.of("re2-c", "re2-d"), "topics matched by another expression");
            admin.deleteTopics(List.of(prefix + "re2-c")).all().get();
            becomes(() -> topics(consumer), Set.of("re2-d"), "topics matched, once one is gone");
        }
        try (var consumer = consumer(group + "-bad", Kind.UNIFORM)) {
            consumer.subscribe(new SubscriptionPattern("(unclosed"));
            fails(InvalidRegularExpression.class, () -> polls(consumer));
        }
    }

    static void clientsRegex() throws Exception {
        topic("java-a", 1);
        String group = prefix + "pattern";
        for (Kind kind : List.of(Kind.COOPERATIVE, Kind.UNIFORM)) {
            try (var consumer = consumer(group + kind, kind, "metadata.max.age.ms", 300)) {
                consumer.subscribe(Pattern.compile(prefix + "java-(?!z).*"));
                becomes(() -> topics(consumer).contains("java-a"), true, "topic matched");
                String later = "java-" + kind;
                topic(later, 1);
                becomes(() -> topics(consumer).contains(later), true, "topic matched, once it is there");
            }
        }
    }

    /** Polls until it fails. */
    static void polls(KafkaConsumer<?, ?> consumer) {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (System.nanoTime() < end) consumer.poll(Duration.ofMillis(100));
    }

    static ConsumerRecord<byte[], byte[]> first(KafkaConsumer<byte[], byte[]> consumer) {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (System.nanoTime() < end) {
            var records = consumer.poll(Duration.ofMillis(100));
            if (!records.isEmpty()) return records.iterator().next();
        }
        throw new AssertionError("nothing was read in 60 s");
    }

    static void commits(Kind kind) throws Exception {
        String topic = topic("commits-" + kind, 1), group = prefix + "commits-" + kind;
        var place = new TopicPartition(topic, 0);
        produce(topic, 0, 0, 40, System.currentTimeMillis());
        try (var consumer = consumer(group, kind)) {
            consumer.subscribe(List.of(topic));
            same(first(consumer).offset(), 0L, "first");
            same(consumer.committed(Set.of(place)).get(place), null, "nothing is committed yet");
            var told = new OffsetAndMetadata(10, Optional.of(0), "ten, ü");
            consumer.commitSync(Map.of(place, told));
            same(consumer.committed(Set.of(place)).get(place), told, "committed");
            same(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(place), told, "committed, says the admin");
            var outcome = new ArrayList<String>();
            for (long at = 11; at <= 13; at++) consumer.commitAsync(Map.of(place, new OffsetAndMetadata(at)), (places, error) -> outcome.add(places.get(place).offset() + " " + error));
            becomes(() -> {
                consumer.poll(Duration.ofMillis(20));
                return List.copyOf(outcome);
            }, List.of("11 null", "12 null", "13 null"), "commits without waiting");
            // One who is no member has no say while there are members.
            try (var stranger = consumer(group, kind)) {
                stranger.assign(List.of(place));
                fails(CommitFailedException.class, () -> stranger.commitSync(Map.of(place, new OffsetAndMetadata(3))));
            }
        }
        same(committed(group), Map.of(place, 13L), "committed after the close");
        long position;
        try (var consumer = consumer(group, kind, "max.poll.records", 4)) {
            consumer.subscribe(List.of(topic));
            same(first(consumer).offset(), 13L, "first after a restart");
            consumer.commitSync();
            position = consumer.position(place);
            same(position, 17L, "position");
            consumer.poll(Duration.ofMillis(300));
        }
        same(committed(group), Map.of(place, position), "what was read after the last commit is not committed");
        try (var consumer = consumer(group, kind, "enable.auto.commit", true, "auto.commit.interval.ms", 100, "max.poll.records", 4)) {
            consumer.subscribe(List.of(topic));
            same(first(consumer).offset(), position, "first after the second restart");
            becomes(() -> {
                consumer.poll(Duration.ofMillis(50));
                return committed(group).get(place) > 25;
            }, true, "committed in passing");
            position = consumer.position(place);
        }
        same(committed(group), Map.of(place, position), "committed by the close");
        produce(topic, 0, 40, 5, System.currentTimeMillis());
        try (var consumer = consumer(group, kind)) {
            consumer.subscribe(List.of(topic));
            same(first(consumer).offset(), position, "first after the third restart");
        }
        try (var consumer = consumer(group, kind, "enable.auto.commit", true)) {
            consumer.subscribe(List.of(topic));
            first(consumer);
            close(consumer, STAY);
        }
    }

    static void resets(Kind kind) throws Exception {
        String topic = topic("resets-" + kind, 1), group = prefix + "resets-" + kind;
        var place = new TopicPartition(topic, 0);
        long now = System.currentTimeMillis();
        produce(topic, 0, 0, 10, now - 7_200_000);
        produce(topic, 0, 10, 10, now);
        for (var reset : Map.of("earliest", 0L, "by_duration:PT1H", 10L, "latest", 20L).entrySet()) {
            try (var consumer = consumer(group, kind, "auto.offset.reset", reset.getKey())) {
                consumer.subscribe(List.of(topic));
                if (reset.getValue() < 20) {
                    same(first(consumer).offset(), reset.getValue(), reset.getKey());
                } else {
                    becomes(() -> {
                        consumer.poll(Duration.ofMillis(50));
                        return consumer.assignment().isEmpty() ? -1 : consumer.position(place, Duration.ofSeconds(30));
                    }, reset.getValue(), reset.getKey());
                }
            }
        }
        try (var consumer = consumer(group, kind, "auto.offset.reset", "none")) {
            consumer.subscribe(List.of(topic));
            fails(NoOffsetForPartitionException.class, () -> polls(consumer));
        }
        // An offset that is gone.
        becomes(() -> state(group).endsWith("Empty 0"), true, "empty");
        admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(5))).all().get();
        admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(12))).all().get();
        try (var consumer = consumer(group, kind)) {
            consumer.subscribe(List.of(topic));
            same(first(consumer).offset(), 12L, "after what was committed is gone");
        }
        // An offset beyond the end.
        becomes(() -> state(group).endsWith("Empty 0"), true, "empty");
        admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(500))).all().get();
        try (var consumer = consumer(group, kind, "auto.offset.reset", "none")) {
            consumer.subscribe(List.of(topic));
            fails(org.apache.kafka.clients.consumer.OffsetOutOfRangeException.class, () -> polls(consumer));
        }
    }

    static void errors(Kind kind) throws Exception {
        String topic = topic("errors-" + kind, 2), group = prefix + "errors-" + kind, missing = prefix + "no-such-group";
        var place = new TopicPartition(topic, 0);
        try (var consumer = consumer(null, kind)) {
            fails(InvalidGroupIdException.class, () -> consumer.subscribe(List.of(topic)));
        }
        try (var member = new Member(new Tally(), List.of(topic), group, kind)) {
            spread(List.of(member), 2, 2);
            fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
            fails(GroupSubscribedToTopicException.class, () -> admin.deleteConsumerGroupOffsets(group, Set.of(place)).partitionResult(place).get());
            fails(UnknownMemberIdException.class, () -> admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(1))).all().get());
            fails(OffsetMetadataTooLarge.class, () -> member.ask(() -> {
                member.consumer.commitSync(Map.of(place, new OffsetAndMetadata(1, "x".repeat(4097))));
                return null;
            }));
            fails(IllegalStateException.class, () -> member.ask(() -> {
                member.consumer.assign(List.of(place));
                return null;
            }));
        }
        fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(missing)).all().get());
        fails(GroupIdNotFoundException.class, () -> admin.describeConsumerGroups(List.of(missing)).all().get());
        fails(GroupIdNotFoundException.class, () -> admin.describeClassicGroups(List.of(missing)).all().get());
        fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroupOffsets(missing, Set.of(place)).partitionResult(place).get());
        same(committed(missing), Map.of(), "offsets of a group that is not there");
        becomes(() -> state(group).endsWith("Empty 0"), true, "empty");
        var nowhere = new TopicPartition(prefix + "no-such-topic", 0);
        fails(UnknownTopicOrPartitionException.class, () -> admin.alterConsumerGroupOffsets(group, Map.of(nowhere, new OffsetAndMetadata(1))).partitionResult(nowhere).get());
        if (kind.isClassic()) {
            try (var consumer = consumer(group, kind, "session.timeout.ms", 1000)) {
                consumer.subscribe(List.of(topic));
                fails(InvalidSessionTimeoutException.class, () -> polls(consumer));
            }
            try (var member = new Member(new Tally(), List.of(topic), group, Kind.RANGE); var other = consumer(group, Kind.COOPERATIVE)) {
                spread(List.of(member), 2, 2);
                other.subscribe(List.of(topic));
                fails(InconsistentGroupProtocolException.class, () -> polls(other));
            }
        } else {
            try (var consumer = consumer(group, kind, "group.remote.assignor", "no-such-assignor")) {
                consumer.subscribe(List.of(topic));
                fails(UnsupportedAssignorException.class, () -> polls(consumer));
            }
            fails(GroupIdNotFoundException.class, () -> admin.describeClassicGroups(List.of(group)).all().get());
        }
        try (var consumer = consumer(group, kind)) {
            consumer.subscribe(List.of("a b"));
            fails(InvalidTopicException.class, () -> polls(consumer));
        }
    }

    static void described(Kind kind) throws Exception {
        String topic = topic("described-" + kind, 3), group = prefix + "described-" + kind, other = prefix + "simple-" + kind;
        var type = kind.isClassic() ? GroupType.CLASSIC : GroupType.CONSUMER;
        admin.alterConsumerGroupOffsets(other, Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(0))).all().get();
        try (var first = new Member(new Tally(), List.of(topic), group, kind, "group.instance.id", "described"); var second = new Member(new Tally(), List.of(topic), group, kind)) {
            spread(List.of(first, second), 3, 1, 2);
            becomes(() -> state(group), type + " Stable 2", "state");
            var found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            same(found.partitionAssignor(), kind.assignor, "assignor");
            same(found.isSimpleConsumerGroup(), false, "simple");
            same(found.coordinator().id(), admin.describeCluster().nodes().get().iterator().next().id(), "coordinator");
            same(found.groupEpoch().isPresent() + " " + found.targetAssignmentEpoch().isPresent(), (type == GroupType.CONSUMER) + " " + (type == GroupType.CONSUMER), "epochs");
            for (Member member : List.of(first, second)) {
                String id = member.ask(() -> member.consumer.groupMetadata().memberId());
                var described = found.members().stream().filter(one -> one.consumerId().equals(id)).findFirst().orElseThrow();
                same(described.assignment().topicPartitions(), member.owned, "assignment");
                same(described.clientId() + " " + described.groupInstanceId().orElse("-"), "interop " + (member == first ? "described" : "-"), "client and instance");
                same(described.host().startsWith("/127.0.0.1"), true, "host");
                if (type == GroupType.CONSUMER) same(described.targetAssignment().get().topicPartitions() + " " + described.memberEpoch().get(), member.owned + " " + epoch(member), "target and epoch");
            }
            if (type == GroupType.CLASSIC) {
                var classic = admin.describeClassicGroups(List.of(group)).all().get().get(group);
                same(classic.state() + " " + classic.protocol() + " " + classic.protocolData() + " " + classic.members().size(), "Stable consumer range 2", "described as a classic group");
            }
            var listing = new GroupListing(group, Optional.of(type), "consumer", Optional.of(GroupState.STABLE));
            same(listed(new ListGroupsOptions()).get(group), listing, "listed");
            same(listed(new ListGroupsOptions().withTypes(Set.of(type)).inGroupStates(Set.of(GroupState.STABLE))).get(group), listing, "listed by type and state");
            same(listed(new ListGroupsOptions().withTypes(Set.of(type == GroupType.CLASSIC ? GroupType.CONSUMER : GroupType.CLASSIC))).get(group), null, "listed among the other type");
            same(listed(new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY))).get(group), null, "listed among the empty");
            same(listed(ListGroupsOptions.forConsumerGroups()).get(group), listing, "listed among consumer groups");
            var simple = listed(new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY))).get(other);
            same(simple, new GroupListing(other, Optional.of(GroupType.CLASSIC), "", Optional.of(GroupState.EMPTY)), "one with offsets only");
            same(simple.isSimpleConsumerGroup(), true, "it is simple");
            second.end(LEAVE);
        }
        becomes(() -> listed(new ListGroupsOptions()).get(group).groupState().get(), GroupState.EMPTY, "listed after the close");
    }

    static Map<String, GroupListing> listed(ListGroupsOptions options) throws Exception {
        return admin.listGroups(options).all().get().stream().collect(Collectors.toMap(GroupListing::groupId, listing -> listing));
    }

    /** The client leaves by itself when its owner does not poll. */
    static void lazy(Kind kind) throws Exception {
        String topic = topic("lazy-" + kind, 2), group = prefix + "lazy-" + kind;
        try (var member = new Member(new Tally(), List.of(topic), group, kind); var lazy = consumer(group, kind, "max.poll.interval.ms", 2000)) {
            spread(List.of(member), 2, 2);
            lazy.subscribe(List.of(topic));
            // It may be slow only when it is in.
            becomes(() -> {
                lazy.poll(Duration.ofMillis(50));
                return lazy.assignment().size() + " " + member.owned.size();
            }, "1 1", "partitions of each");
            spread(List.of(member), 2, 2);
            becomes(() -> {
                lazy.poll(Duration.ofMillis(50));
                return lazy.assignment().size() + " " + member.owned.size();
            }, "1 1", "partitions of each, when it polls again");
        }
    }

    static void byHand() throws Exception {
        String topic = topic("hand", 3), group = prefix + "hand";
        var places = places(topic, 3);
        produce(topic, 0, 0, 10, System.currentTimeMillis());
        try (var consumer = consumer(group, Kind.RANGE)) {
            consumer.assign(List.of(places.get(0)));
            first(consumer);
            consumer.commitSync();
        }
        same(committed(group), Map.of(places.get(0), 10L), "committed without members");
        same(state(group), "Classic Empty 0", "state");
        admin.alterConsumerGroupOffsets(group, Map.of(places.get(0), new OffsetAndMetadata(4), places.get(1), new OffsetAndMetadata(0, Optional.of(7), "note"), places.get(2), new OffsetAndMetadata(9_000_000_000L))).all().get();
        same(committed(group), Map.of(places.get(0), 4L, places.get(1), 0L, places.get(2), 9_000_000_000L), "altered");
        same(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(places.get(1)), new OffsetAndMetadata(0, Optional.of(7), "note"), "with epoch and note");
        admin.deleteConsumerGroupOffsets(group, Set.of(places.get(1), places.get(2))).all().get();
        same(committed(group), Map.of(places.get(0), 4L), "after two were deleted");
        try (var consumer = consumer(group, Kind.UNIFORM)) {
            consumer.subscribe(List.of(topic));
            same(first(consumer).offset(), 4L, "a member begins there");
        }
        becomes(() -> state(group).endsWith("Empty 0"), true, "empty");
        admin.deleteTopics(List.of(topic)).all().get();
        becomes(() -> committed(group), Map.of(), "offsets of a deleted topic");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        same(listed(new ListGroupsOptions()).get(group), null, "listed after it was deleted");
        fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
    }

    static void manyGroups() throws Exception {
        String topic = topic("many", 2);
        var places = places(topic, 2);
        var groups = IntStream.range(0, 60).mapToObj(at -> prefix + "many-" + at).toList();
        for (int at = 0; at < 60; at++) admin.alterConsumerGroupOffsets(groups.get(at), Map.of(places.get(at % 2), new OffsetAndMetadata(at, "of " + at))).all().get();
        Map<String, ListConsumerGroupOffsetsSpec> asked = groups.stream().collect(Collectors.toMap(group -> group, group -> new ListConsumerGroupOffsetsSpec()));
        asked.put(groups.get(0), new ListConsumerGroupOffsetsSpec().topicPartitions(places));
        asked.put(prefix + "nobody", new ListConsumerGroupOffsetsSpec().topicPartitions(places));
        var found = admin.listConsumerGroupOffsets(asked).all().get();
        for (int at = 1; at < 60; at++) same(found.get(groups.get(at)), Map.of(places.get(at % 2), new OffsetAndMetadata(at, "of " + at)), "offsets of " + at);
        Map<TopicPartition, OffsetAndMetadata> half = new HashMap<>();
        half.put(places.get(0), new OffsetAndMetadata(0, "of 0"));
        half.put(places.get(1), null);
        same(found.get(groups.get(0)), half, "offsets asked for by name");
        half.put(places.get(0), null);
        same(found.get(prefix + "nobody"), half, "offsets of a group that is not there");
        same(admin.describeConsumerGroups(groups).all().get().size(), 60, "described at once");
        same(listed(new ListGroupsOptions()).keySet().containsAll(groups), true, "all are listed");
        admin.deleteConsumerGroups(groups).all().get();
        same(listed(new ListGroupsOptions()).keySet().stream().filter(groups::contains).count(), 0L, "listed after they were deleted");
    }

    static void removed() throws Exception {
        String topic = topic("removed", 4), group = prefix + "removed";
        var members = new ArrayList<Member>();
        try {
            for (int at = 0; at < 2; at++) members.add(new Member(new Tally(), List.of(topic), group, Kind.RANGE, "group.instance.id", "r" + at));
            members.add(new Member(new Tally(), List.of(topic), group, Kind.RANGE));
            spread(members, 4, 1, 1, 2);
            var unknown = new MemberToRemove("nobody");
            var result = admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(unknown)));
            fails(UnknownMemberIdException.class, () -> result.memberResult(unknown).get());
            members.get(0).end(STAY);
            admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("r0")))).all().get();
            members.remove(0);
            spread(members, 4, 2, 2);
            // All of them: who lives comes back, but the static one is told that it is out.
            admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all().get();
            spread(members, 4, 2, 2);
        } finally {
            for (Member member : members) member.close();
        }
        becomes(() -> state(group), "Classic Empty 0", "state");
    }

    static void grown() throws Exception {
        for (Kind kind : List.of(Kind.COOPERATIVE, Kind.UNIFORM)) {
            String topic = topic("grown-" + kind, 2), group = prefix + "grown-" + kind;
            try (var member = new Member(new Tally(), List.of(topic), group, kind, "metadata.max.age.ms", 300)) {
                spread(List.of(member), 2, 2);
                admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
                spread(List.of(member), 5, 5);
                same(member.revoked, List.of(), "taken from the member meanwhile");
            }
        }
    }

    static void ownSettings() throws Exception {
        String group = prefix + "own";
        var resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        var set = new AlterConfigOp(new ConfigEntry("consumer.heartbeat.interval.ms", "5500"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
        becomes(() -> {
            var found = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("consumer.heartbeat.interval.ms");
            return found.value() + " " + found.source();
        }, "5500 DYNAMIC_GROUP_CONFIG", "its own setting");
        var outside = new AlterConfigOp(new ConfigEntry("consumer.session.timeout.ms", "1"), AlterConfigOp.OpType.SET);
        fails(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(resource, List.of(outside))).all().get());
        var unset = new AlterConfigOp(new ConfigEntry("consumer.heartbeat.interval.ms", null), AlterConfigOp.OpType.DELETE);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(unset))).all().get();
        becomes(() -> admin.describeConfigs(List.of(resource)).all().get().get(resource).get("consumer.heartbeat.interval.ms").source().toString().startsWith("DYNAMIC_GROUP"), false, "its own setting, removed");
    }
}
