//! What we write, the `kafka-protocol` crate reads and writes back as the same bytes, and the other way round. It only ever
//! reads what was well-formed for us: it believes any length.

#[path = "every_message/codec.rs"]
mod codec;
#[path = "every_message/mutations.rs"]
mod mutations;
#[path = "every_message/vectors.rs"]
mod vectors;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{self as theirs, ApiKey, RequestKind, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable};
use mutations::{Dice, mutate};
use protocol::primitives::Reader;

/// Mutations tried, to get at values that no vector holds.
const MUTATIONS: usize = 200_000;

/// Reads with the other crate and writes again; `None` if it does not know the version, or keeps other limits.
fn there_and_back(
    message: &str,
    key: Option<i16>,
    version: i16,
    bytes: &[u8],
) -> Option<Result<Vec<u8>, String>> {
    let mut bytes = Bytes::copy_from_slice(bytes);
    let mut out = BytesMut::new();
    let api = key.and_then(|key| ApiKey::try_from(key).ok());
    let knows = |api: &ApiKey| {
        let stable =
            protocol::api_key::ApiKey::from_i16(*api as i16).is_some_and(|key| key.supports(version));
        stable && (api.valid_versions().min..=api.valid_versions().max).contains(&version)
    };
    let result = match (api, message) {
        (Some(api), name) if name.ends_with("Request") && knows(&api) => {
            RequestKind::decode(api, &mut bytes, version)
                .and_then(|it| it.encode(&mut out, version))
                .map_err(|e| format!("{e:#}"))
        }
        (Some(api), name) if name.ends_with("Response") && knows(&api) => {
            ResponseKind::decode(api, &mut bytes, version)
                .and_then(|it| it.encode(&mut out, version))
                .map_err(|e| format!("{e:#}"))
        }
        (_, "RequestHeader") => plain::<theirs::RequestHeader>(&mut bytes, &mut out, version),
        (_, "ResponseHeader") => plain::<theirs::ResponseHeader>(&mut bytes, &mut out, version),
        (_, "ConsumerProtocolAssignment") => {
            plain::<theirs::ConsumerProtocolAssignment>(&mut bytes, &mut out, version)
        }
        (_, "ConsumerProtocolSubscription") => {
            plain::<theirs::ConsumerProtocolSubscription>(&mut bytes, &mut out, version)
        }
        (_, "LeaderChangeMessage") => plain::<theirs::LeaderChangeMessage>(&mut bytes, &mut out, version),
        (_, "KRaftVersionRecord") => plain::<theirs::KRaftVersionRecord>(&mut bytes, &mut out, version),
        (_, "VotersRecord") => plain::<theirs::VotersRecord>(&mut bytes, &mut out, version),
        _ => return None,
    };
    match result {
        Err(reason) if reason.contains("version not supported") => None,
        result => Some(result.map(|()| out.to_vec())),
    }
}

fn plain<M: Decodable + Encodable>(
    bytes: &mut Bytes,
    out: &mut BytesMut,
    version: i16,
) -> Result<(), String> {
    M::decode(bytes, version).and_then(|it| it.encode(out, version)).map_err(|e| format!("{e:#}"))
}

#[test]
fn another_implementation_reads_what_we_write_and_writes_what_we_read() {
    let mut dice = Dice::new(7);
    let (mut compared, mut mutated) = (0, 0);
    let mut wrong = Vec::new();
    let vectors = vectors::all().unwrap_or_else(vectors::checked_in);
    for vector in &vectors {
        let codec = codec::find(&vector.message);
        for round in 0..=MUTATIONS / vectors.len() {
            let mut bytes = vector.bytes.clone();
            if round > 0 {
                mutate(&mut bytes, &mut dice);
            }
            let Ok(value) = (codec.decode)(&mut Reader::new(&bytes), vector.version) else { continue };
            let ours = value.encode(vector.version).expect("what was read can be written");
            let Some(theirs) = there_and_back(codec.name, codec.key, vector.version, &ours) else { continue };
            compared += 1;
            mutated += usize::from(round > 0);
            if theirs.as_ref() != Ok(&ours) {
                wrong.push(format!(
                    "{} {} {}: {ours:02x?} became {theirs:02x?}",
                    codec.name, vector.version, vector.variant
                ));
            }
        }
    }
    let shown = wrong.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {compared} disagree:\n{shown}", wrong.len());
    assert!(compared > 20_000 && mutated > 20_000, "{compared} compared, {mutated} of them mutated");
}
