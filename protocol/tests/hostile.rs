//! Bytes that nobody meant well. No decoder panics, and none allocates more than its message pays for: 64 KiB and 16 bytes a
//! byte, the budget that `Reader::new` gives. The bound is exact, because every allocation is charged before it is made.

#[path = "every_message/codec.rs"]
mod codec;
#[path = "every_message/mutations.rs"]
mod mutations;
#[path = "every_message/vectors.rs"]
mod vectors;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mutations::{Dice, mutate};
use protocol::messages::{
    CreateTopicsRequest, DescribeConfigsRequest, FetchRequest, FindCoordinatorRequest, Message,
    MetadataRequest, OffsetFetchResponse, ProduceRequest,
};
use protocol::primitives::{DecodeError, Reader, Writer};

const MUTATIONS: usize = 100_000;
const SEED: u64 = 20_261_121;

/// The system's allocator, with an account of what each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn account(bytes: isize) {
    // A thread on its way out has no account any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        PEAK.with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is passed on unchanged; the account itself allocates nothing.
#[expect(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        account(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        account(-(layout.size() as isize));
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that was held at once during `work`, beyond what was held before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, (PEAK.get() - before) as usize)
}

fn bound(input: &[u8]) -> usize {
    64 * 1024 + 16 * input.len()
}

fn decode_within_bounds<M: Message>(input: &[u8], version: i16) -> Result<M, DecodeError> {
    let (result, peak) = peak_of(|| M::from_bytes(input, version));
    assert!(peak <= bound(input), "{} {version} took {peak} bytes for {}", M::NAME, input.len());
    result
}

#[test]
fn no_mutation_of_a_message_panics_or_takes_more_memory_than_it_pays_for() {
    let vectors = vectors::all().unwrap_or_else(vectors::checked_in);
    let mut dice = Dice::new(SEED);
    let (mut accepted, mut worst) = (0, 0);
    for at in 0..MUTATIONS {
        let vector = &vectors[at % vectors.len()];
        let codec = codec::find(&vector.message);
        let mut bytes = vector.bytes.clone();
        mutate(&mut bytes, &mut dice);
        // Now and then as another version: peers disagree about it, too.
        let versions = (codec.last - codec.first + 1) as usize;
        let other = codec.first + dice.below(versions) as i16;
        let version = if dice.below(8) == 0 { other } else { vector.version };
        let (result, peak) = peak_of(|| (codec.accepts)(&mut Reader::new(&bytes), version));
        accepted += usize::from(result.is_ok());
        worst = worst.max(peak);
        assert!(peak <= bound(&bytes), "{} {version}: {peak} bytes for {bytes:02x?}", codec.name);
    }
    assert!(accepted > MUTATIONS / 10, "only {accepted} mutations were accepted: they no longer reach deep");
    assert!(worst > 1000, "the account no longer counts");
}

#[test]
fn no_noise_panics_any_decoder_of_any_version() {
    let mut dice = Dice::new(SEED);
    for codec in codec::MESSAGES {
        for version in codec.first..=codec.last {
            for _ in 0..20 {
                let len = dice.below(200);
                // Small bytes make small lengths, and small lengths lead further in.
                let limit = [3, 40, 256][dice.below(3)];
                let bytes: Vec<u8> = (0..len).map(|_| dice.below(limit) as u8).collect();
                let (_, peak) = peak_of(|| (codec.accepts)(&mut Reader::new(&bytes), version));
                assert!(peak <= bound(&bytes), "{} {version}: {peak} bytes for {bytes:02x?}", codec.name);
            }
        }
    }
}

#[test]
fn no_mutation_of_a_request_frame_panics() {
    let mut dice = Dice::new(SEED);
    let requests: Vec<_> =
        vectors::checked_in().into_iter().filter(|vector| vector.message.ends_with("Request")).collect();
    for at in 0..MUTATIONS / 10 {
        let vector = &requests[at % requests.len()];
        let key = codec::find(&vector.message).key.expect("a request has a key");
        let mut frame = [key.to_be_bytes(), vector.version.to_be_bytes()].concat();
        frame.extend(b"\0\0\0\x07\0\x08client-1");
        let key = protocol::api_key::ApiKey::from_i16(key).expect("an API of ours");
        if key.request_header_version(vector.version) == 2 {
            frame.push(0);
        }
        frame.extend(&vector.bytes);
        mutate(&mut frame, &mut dice);
        codec::decode_request(&frame);
    }
}

#[test]
fn lengths_beyond_the_message_cost_nothing() {
    let refused = |result: Result<(), DecodeError>, peak: usize| {
        assert_eq!(result, Err(DecodeError::Short));
        assert_eq!(peak, 0);
    };
    for lie in [0x7fff_ffff_u32, 0x7fff_fffe, 0x00ff_ffff, 1000] {
        // Topics of a classic, then of a compact encoding.
        let classic = lie.to_be_bytes();
        let (result, peak) = peak_of(|| MetadataRequest::from_bytes(&classic, 1).map(drop));
        refused(result, peak);
        let mut w = Writer::new();
        w.unsigned_varint(lie);
        w.raw(&[0; 30]);
        let compact = w.into_vec();
        let (result, peak) = peak_of(|| MetadataRequest::from_bytes(&compact, 12).map(drop));
        refused(result, peak);
    }
    // A topic of 32,767 bytes, and records of 2 GiB.
    let name = [0, 0, 0, 1, 0x7f, 0xff, b'x'];
    assert_eq!(decode_within_bounds::<MetadataRequest>(&name, 1).unwrap_err(), DecodeError::Short);
    let mut w = Writer::new();
    for byte in [0, 0xff, 0xff, 0, 0, 0, 0, 2, 2, b't', 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07] {
        w.u8(byte);
    }
    assert_eq!(decode_within_bounds::<ProduceRequest>(w.written(), 9).unwrap_err(), DecodeError::Short);
}

#[test]
fn tagged_fields_without_end_are_refused_or_end_with_the_message() {
    let request = MetadataRequest::default().to_bytes(12).unwrap();
    let with_tags = |tags: &[u8]| [&request[..request.len() - 1], tags].concat();
    let refused = with_tags(&[0xff, 0xff, 0xff, 0xff, 0x07]);
    assert_eq!(decode_within_bounds::<MetadataRequest>(&refused, 12), Err(DecodeError::Short));
    let long = with_tags(&[1, 9, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
    assert_eq!(decode_within_bounds::<MetadataRequest>(&long, 12), Err(DecodeError::Short));
    let negative = with_tags(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(decode_within_bounds::<MetadataRequest>(&negative, 12), Ok(MetadataRequest::default()));

    // The same tag a thousand times, out of order with others: legal, the last one counts.
    let request = FetchRequest::default().to_bytes(12).unwrap();
    let mut w = Writer::append_to(request[..request.len() - 1].to_vec());
    w.unsigned_varint(3000);
    for round in 0..1000 {
        for tag in [7, 0, 3] {
            let start = w.begin_tag(tag);
            w.string(&format!("cluster-{round}"), true).unwrap();
            w.end_tag(start).unwrap();
        }
    }
    let request = decode_within_bounds::<FetchRequest>(w.written(), 12).unwrap();
    assert_eq!(request.cluster_id.as_deref(), Some("cluster-999"));
}

#[test]
fn a_message_of_tiny_elements_is_too_heavy() {
    // An empty string is one byte here and 24 in memory.
    let keys = 1_000_000;
    let mut w = Writer::new();
    w.i8(0);
    w.array_len(Some(keys), true).unwrap();
    w.raw(&vec![1; keys]);
    w.no_tags();
    let result = decode_within_bounds::<FindCoordinatorRequest>(w.written(), 4);
    assert_eq!(result.unwrap_err(), DecodeError::TooHeavy);

    // The same by way of many small arrays, each of which may be afforded.
    let mut w = Writer::new();
    let resources = 20_000;
    w.array_len(Some(resources), true).unwrap();
    for _ in 0..resources {
        w.i8(2);
        w.string("", true).unwrap();
        w.array_len(Some(8), true).unwrap();
        w.raw(&[1; 8]);
        w.no_tags();
    }
    w.raw(&[0, 0, 0]);
    let result = decode_within_bounds::<DescribeConfigsRequest>(w.written(), 4);
    assert_eq!(result.unwrap_err(), DecodeError::TooHeavy);
}

#[test]
fn large_honest_messages_are_affordable() {
    let mut request = CreateTopicsRequest::default();
    request.topics.resize_with(10_000, || protocol::messages::create_topics_request::CreatableTopic {
        name: "orders".to_owned(),
        num_partitions: 3,
        replication_factor: -1,
        ..Default::default()
    });
    let bytes = request.to_bytes(7).unwrap();
    assert_eq!(decode_within_bounds::<CreateTopicsRequest>(&bytes, 7), Ok(request));

    let mut answer = OffsetFetchResponse::default();
    answer.topics.resize_with(100, || protocol::messages::offset_fetch_response::OffsetFetchResponseTopic {
        name: "t".to_owned(),
        partitions: vec![Default::default(); 1000],
    });
    for version in 1..=7 {
        let bytes = answer.to_bytes(version).unwrap();
        assert!(decode_within_bounds::<OffsetFetchResponse>(&bytes, version).is_ok());
    }
}
