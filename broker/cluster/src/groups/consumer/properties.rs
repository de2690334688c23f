//! What holds whatever happens: a machine that reads the log is the one that wrote it, no partition is had by two, and when
//! nothing happens any more everyone comes to have what it shall have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::ids::Uuid;
use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedByClassic;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::*;
use protocol::primitives::Writer;

use crate::groups::consumer_protocol::parse_assignment;
use crate::groups::group::Kind;
use crate::groups::{
    Asked, Client, Command, GroupRecord, GroupSettings, Groups, Moment, Reply, Ticket, Uptime,
};
use crate::machine::Timestamp;
use crate::metadata::{Image, MetadataRecord};

/// A small random number generator: the tests say which seed failed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

type Parts = BTreeSet<(Uuid, i32)>;

/// A consumer, as it knows itself.
#[derive(Debug)]
struct Consumer {
    id: String,
    instance: Option<String>,
    is_classic: bool,
    epoch: i32,
    topics: Vec<String>,
    pattern: Option<String>,
    /// It said all that it has to say once.
    has_said: bool,
    owns: Parts,
    shall_have: Parts,
    /// Of the classic protocol: it was told to join again.
    must_join: bool,
}

struct World {
    seed: u64,
    random: Random,
    groups: Groups,
    settings: Arc<GroupSettings>,
    image: Image,
    now: i64,
    tickets: u64,
    topics: Vec<String>,
    consumers: Vec<Consumer>,
    history: Vec<GroupRecord>,
}

const SEEDS: u64 = 150;
const GROUP: &str = "g";

impl World {
    fn new(seed: u64) -> Self {
        let settings = Arc::new(GroupSettings {
            initial_rebalance_delay_ms: 0,
            consumer_assignment_interval_ms: if seed.is_multiple_of(2) { 0 } else { 1_000 },
            ..GroupSettings::default()
        });
        let mut world = Self {
            seed,
            random: Random(seed),
            groups: Groups::new(settings.clone()),
            settings,
            image: Image::new("c"),
            now: 1_000,
            tickets: 0,
            topics: Vec::new(),
            consumers: Vec::new(),
            history: Vec::new(),
        };
        world.add_topic();
        world
    }

    fn step(&mut self) {
        match self.random.below(36) {
            0 => self.add_topic(),
            1 => self.grow_topic(),
            2 if self.topics.len() > 1 => self.remove_topic(),
            3 | 4 if self.consumers.len() < 6 => self.add_consumer(),
            5 => self.change_mind(),
            6 => self.say_goodbye(),
            7 if self.random.one_in(3) => drop(self.vanish()),
            8 | 11 => {
                let ms = self.random_ms();
                self.pass(ms);
            }
            9 => self.say_nonsense(),
            10 if self.random.one_in(4) => self.fail_over(),
            _ => self.beat_someone(),
        }
        self.check_owners();
    }

    fn random_ms(&mut self) -> i64 {
        [1, 100, 1_000, 3_000, 20_000][self.random.below(5) as usize]
    }

    // The cluster around.

    fn add_topic(&mut self) {
        let name = format!("t{}", self.image.offset + 1);
        let topic_id = Uuid::from_u64_pair(7, (self.image.offset + 2) as u64);
        self.see(MetadataRecord::Topic(TopicRecord { name: name.clone(), topic_id }));
        let partitions = 1 + self.random.below(5) as i32;
        for partition_id in 0..partitions {
            let record = PartitionRecord { partition_id, topic_id, replicas: vec![1], ..Default::default() };
            self.see(MetadataRecord::Partition(record));
        }
        self.topics.push(name);
    }

    fn grow_topic(&mut self) {
        let at = self.random.below(self.topics.len() as u64) as usize;
        let topic = self.image.topics.by_name(&self.topics[at]).unwrap();
        let (topic_id, partition_id) = (topic.id, topic.partitions().len() as i32);
        let record = PartitionRecord { partition_id, topic_id, replicas: vec![1], ..Default::default() };
        self.see(MetadataRecord::Partition(record));
    }

    fn remove_topic(&mut self) {
        let at = self.random.below(self.topics.len() as u64) as usize;
        let topic_id = self.image.topics.by_name(&self.topics.remove(at)).unwrap().id;
        self.see(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id }));
    }

    fn see(&mut self, record: MetadataRecord) {
        self.image.apply(&record, self.image.offset + 1).unwrap();
    }

    fn moment(&self) -> Moment {
        Moment { wall: Timestamp(self.now), uptime: Uptime(self.now) }
    }

    fn pass(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(Uptime(at)) = self.groups.deadline().filter(|at| at.0 <= until) {
            self.now = self.now.max(at);
            self.ask(Command::Tick);
        }
        self.now = until;
    }

    fn fail_over(&mut self) {
        self.groups = self.replayed();
        let loaded = self.groups.loaded(&self.image, self.moment());
        self.take(&loaded.records);
    }

    fn replayed(&self) -> Groups {
        let mut groups = Groups::new(self.settings.clone());
        self.history.iter().for_each(|record| groups.apply(record));
        groups
    }

    // The consumers.

    fn add_consumer(&mut self) {
        self.tickets += 1;
        let (topics, pattern) = self.wishes();
        let is_classic = pattern.is_none() && self.random.one_in(3);
        let instance = self.random.one_in(4).then(|| format!("i{}", self.random.below(3)));
        if instance.is_some() && self.consumers.iter().any(|it| it.instance == instance) {
            return;
        }
        let id = if is_classic { String::new() } else { format!("m{}", self.tickets) };
        self.consumers.push(Consumer {
            id,
            instance,
            is_classic,
            epoch: 0,
            topics,
            pattern,
            has_said: false,
            owns: Parts::new(),
            shall_have: Parts::new(),
            must_join: true,
        });
        self.beat(self.consumers.len() - 1);
    }

    fn wishes(&mut self) -> (Vec<String>, Option<String>) {
        let mut topics = self.topics.clone();
        topics.retain(|_| !self.random.one_in(3));
        let pattern = ["t.*", ".*[0-4]", "t1.*"][self.random.below(3) as usize];
        (topics, self.random.one_in(4).then(|| pattern.to_owned()))
    }

    fn change_mind(&mut self) {
        let Some(at) = self.someone() else { return };
        let (topics, pattern) = self.wishes();
        let consumer = &mut self.consumers[at];
        consumer.topics = topics;
        if !consumer.is_classic {
            // What it does not name stays as it was.
            consumer.pattern = pattern.or(consumer.pattern.take().map(|_| String::new()));
        }
        (consumer.has_said, consumer.must_join) = (false, true);
    }

    fn someone(&mut self) -> Option<usize> {
        let count = self.consumers.len() as u64;
        (count > 0).then(|| self.random.below(count) as usize)
    }

    /// It dies without a word.
    fn vanish(&mut self) -> Option<Consumer> {
        self.someone().map(|at| self.consumers.remove(at))
    }

    fn say_goodbye(&mut self) {
        let Some(consumer) = self.vanish() else { return };
        let (group_id, member_id) = (GROUP.to_owned(), consumer.id);
        if consumer.is_classic {
            let member = MemberIdentity { member_id, group_instance_id: consumer.instance, reason: None };
            let request = LeaveGroupRequest { group_id, members: vec![member], ..Default::default() };
            let asked = self.asked(request, 5);
            self.ask(Command::LeaveGroup(asked));
        } else {
            let member_epoch = if consumer.instance.is_some() && self.random.one_in(2) { -2 } else { -1 };
            let instance_id = consumer.instance;
            let request = ConsumerGroupHeartbeatRequest {
                group_id,
                member_id,
                member_epoch,
                instance_id,
                ..Default::default()
            };
            let asked = self.asked(request, 1);
            self.ask(Command::ConsumerGroupHeartbeat(asked));
        }
    }

    fn say_nonsense(&mut self) {
        let id = self.someone().map_or_else(String::new, |at| self.consumers[at].id.clone());
        let topic_id = Uuid::from_u64_pair(7, self.random.below(9));
        let request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.to_owned(),
            member_id: if self.random.one_in(2) { id } else { "nobody".to_owned() },
            member_epoch: self.random.below(12) as i32 + 1,
            instance_id: self.random.one_in(3).then(|| format!("i{}", self.random.below(3))),
            topic_partitions: Some(vec![TopicPartitions { topic_id, partitions: vec![0, 9] }]),
            ..Default::default()
        };
        // It may hit the epoch that a member is in; that member says what it has the next time.
        let is_true =
            self.consumers.iter().any(|it| it.id == request.member_id && it.epoch == request.member_epoch);
        if !is_true {
            let asked = self.asked(request, 1);
            self.ask(Command::ConsumerGroupHeartbeat(asked));
        }
    }

    fn beat_someone(&mut self) {
        if let Some(at) = self.someone() {
            self.beat(at);
        }
    }

    fn beat(&mut self, at: usize) {
        if self.consumers[at].is_classic { self.beat_classic(at) } else { self.beat_consumer(at) }
    }

    fn beat_consumer(&mut self, at: usize) {
        let loses_answer = self.random.one_in(10);
        let consumer = &mut self.consumers[at];
        // It gives up before it takes.
        consumer.owns.retain(|part| consumer.shall_have.contains(part));
        let says_all = consumer.epoch == 0 || !consumer.has_said;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.to_owned(),
            member_id: consumer.id.clone(),
            member_epoch: consumer.epoch,
            instance_id: consumer.instance.clone(),
            rebalance_timeout_ms: if says_all { 30_000 } else { -1 },
            subscribed_topic_names: says_all.then(|| consumer.topics.clone()),
            subscribed_topic_regex: if says_all { consumer.pattern.clone() } else { None },
            topic_partitions: Some(by_topic(&consumer.owns)),
            ..Default::default()
        };
        let asked = self.asked(request, 1);
        let Some(Reply::ConsumerGroupHeartbeat(answer)) = self.ask(Command::ConsumerGroupHeartbeat(asked))
        else {
            panic!("a heartbeat is answered at once");
        };
        let consumer = &mut self.consumers[at];
        if loses_answer {
            consumer.has_said = false;
            return;
        }
        if answer.error_code != 0 {
            // Fenced: it drops all it has and joins again.
            consumer.epoch = 0;
            (consumer.owns, consumer.shall_have) = Default::default();
            consumer.has_said = false;
            return;
        }
        consumer.has_said = true;
        consumer.epoch = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            let parts = assignment.topic_partitions.into_iter();
            consumer.shall_have =
                parts.flat_map(|it| it.partitions.into_iter().map(move |part| (it.topic_id, part))).collect();
        }
        if consumer.owns.is_subset(&consumer.shall_have) {
            consumer.owns.clone_from(&consumer.shall_have);
        }
    }

    fn beat_classic(&mut self, at: usize) {
        let consumer = &self.consumers[at];
        if consumer.must_join {
            return self.join_classic(at);
        }
        let request = HeartbeatRequest {
            group_id: GROUP.to_owned(),
            generation_id: consumer.epoch,
            member_id: consumer.id.clone(),
            group_instance_id: consumer.instance.clone(),
        };
        let asked = self.asked(request, 4);
        let Some(Reply::Heartbeat(answer)) = self.ask(Command::Heartbeat(asked)) else {
            panic!("a heartbeat is answered at once");
        };
        self.heed(at, answer.error_code);
    }

    fn heed(&mut self, at: usize, error: i16) {
        use protocol::error_code::ErrorCode as E;
        let consumer = &mut self.consumers[at];
        match protocol::error_code::ErrorCode(error) {
            E::NONE => (),
            E::REBALANCE_IN_PROGRESS => consumer.must_join = true,
            _ => {
                consumer.must_join = true;
                (consumer.owns, consumer.shall_have) = Default::default();
                consumer.id.clear();
            }
        }
    }

    fn join_classic(&mut self, at: usize) {
        let consumer = &self.consumers[at];
        let mut owned: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &consumer.owns {
            if let Some(topic) = self.image.topics.by_id(*topic) {
                owned.entry(topic.name.to_string()).or_default().push(*partition);
            }
        }
        let owned_partitions =
            owned.into_iter().map(|(topic, partitions)| OwnedByClassic { topic, partitions }).collect();
        let topics = consumer.topics.clone();
        let subscription = ConsumerProtocolSubscription { topics, owned_partitions, ..Default::default() };
        let mut w = Writer::new();
        w.i16(1);
        subscription.encode(&mut w, 1).unwrap();
        let protocol = JoinGroupRequestProtocol { name: "range".to_owned(), metadata: w.into_bytes() };
        let request = JoinGroupRequest {
            group_id: GROUP.to_owned(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            member_id: consumer.id.clone(),
            group_instance_id: consumer.instance.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            reason: None,
        };
        let asked = self.asked(request, 3);
        match self.ask(Command::JoinGroup(asked)) {
            Some(Reply::JoinGroup(answer)) if answer.error_code == 0 => {
                let consumer = &mut self.consumers[at];
                (consumer.id, consumer.epoch) = (answer.member_id, answer.generation_id);
                consumer.must_join = false;
                self.sync_classic(at);
            }
            Some(Reply::JoinGroup(answer)) => self.heed(at, answer.error_code),
            // It waits for the others of a classic group; here it dies of it.
            _ => drop(self.consumers.remove(at)),
        }
    }

    fn sync_classic(&mut self, at: usize) {
        let consumer = &self.consumers[at];
        let request = SyncGroupRequest {
            group_id: GROUP.to_owned(),
            generation_id: consumer.epoch,
            member_id: consumer.id.clone(),
            group_instance_id: consumer.instance.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignments: Vec::new(),
        };
        let asked = self.asked(request, 5);
        match self.ask(Command::SyncGroup(asked)) {
            Some(Reply::SyncGroup(answer)) if answer.error_code == 0 => {
                let assignment = parse_assignment(&answer.assignment).unwrap_or_default();
                let parts = assignment.assigned_partitions.iter().flat_map(|it| {
                    let topic = self.image.topics.by_name(&it.topic).map(|topic| topic.id);
                    it.partitions.iter().filter_map(move |part| Some((topic?, *part)))
                });
                let parts: Parts = parts.collect();
                let consumer = &mut self.consumers[at];
                consumer.owns.clone_from(&parts);
                consumer.shall_have = parts;
            }
            Some(Reply::SyncGroup(answer)) => self.heed(at, answer.error_code),
            _ => drop(self.consumers.remove(at)),
        }
    }

    fn asked<Request>(&mut self, request: Request, version: i16) -> Asked<Request> {
        self.tickets += 1;
        let fresh_id = Uuid::from_u64_pair(9, self.tickets);
        Asked { ticket: Ticket(self.tickets), version, client: Client::default(), fresh_id, request }
    }

    /// The answer to what was asked last, if it comes at once.
    fn ask(&mut self, command: Command) -> Option<Reply> {
        let decision = self.groups.decide(command, &self.image, self.moment());
        self.take(&decision.records);
        let mut answers = decision.reply.into_iter().filter(|answer| answer.ticket.0 == self.tickets);
        answers.next().map(|answer| answer.reply)
    }

    fn take(&mut self, records: &[GroupRecord]) {
        for record in records {
            self.groups.apply(record);
            self.history.push(record.clone());
        }
    }

    // What must hold.

    fn group(&self) -> Option<&super::ConsumerGroup> {
        match &self.groups.groups.get(GROUP)?.kind {
            Kind::Consumer(group) => Some(group),
            Kind::Classic(_) => None,
        }
    }

    fn check_owners(&self) {
        let seed = self.seed;
        let Some(group) = self.group() else { return };
        assert!(group.owned.values().all(|count| *count == 1), "seed {seed}: {:?}", group.owned);
        let mut owned = Parts::new();
        for consumer in self.consumers.iter().filter(|it| group.members.contains_key(&*it.id)) {
            for part in &consumer.owns {
                assert!(owned.insert(*part), "seed {seed}: two own {part:?}: {:#?}", self.consumers);
            }
        }
    }

    fn check_replay(&self) {
        let replayed = self.replayed();
        let logged = |groups: &Groups| {
            let kinds = groups.groups.iter().map(|(id, group)| match &group.kind {
                Kind::Consumer(group) => format!("{id} {}", group.logged()),
                Kind::Classic(_) => id.to_string(),
            });
            kinds.collect::<Vec<_>>()
        };
        assert_eq!(logged(&self.groups), logged(&replayed), "seed {}", self.seed);
    }

    /// Nothing changes any more.
    fn come_to_rest(&mut self) {
        for _ in 0..60 {
            self.pass(5_000);
            for at in (0..self.consumers.len()).rev() {
                self.beat(at);
                self.check_owners();
            }
        }
        let Some(group) = self.group() else { return };
        let seed = self.seed;
        assert!(["Stable", "Empty"].contains(&group.state_name()), "seed {seed}: {group:#?}");
        let mut wanted = Parts::new();
        for member in group.members.values() {
            for id in group.subscribed_topics(member, &self.image.topics) {
                let count = self.image.topics.by_id(id).unwrap().partitions().len() as i32;
                wanted.extend((0..count).map(|partition| (id, partition)));
            }
        }
        let owned: Parts = self.consumers.iter().flat_map(|it| it.owns.iter().copied()).collect();
        assert_eq!(owned, wanted, "seed {seed}: {:#?}", self.consumers);
    }
}

fn by_topic(parts: &Parts) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    parts.iter().for_each(|(topic, partition)| topics.entry(*topic).or_default().push(*partition));
    topics.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
}

impl super::ConsumerGroup {
    /// All that the log says of it.
    fn logged(&self) -> String {
        format!(
            "{:?}",
            (
                (self.epoch, self.metadata_hash, &self.members, &self.instances, &self.target),
                (&self.resolved, self.has_partition_metadata, &self.topics, &self.patterns),
                (&self.owned, self.classic_members),
            )
        )
    }
}

#[test]
fn nothing_is_had_twice_and_everything_comes_to_rest() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for step in 0..200 {
            world.step();
            if step % 25 == 0 {
                world.check_replay();
            }
        }
        world.check_replay();
        world.come_to_rest();
        world.check_replay();
    }
}
