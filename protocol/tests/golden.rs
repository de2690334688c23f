//! Every message reads and writes the bytes that Apache Kafka 4.3.1 writes, and means the same by them.

#[path = "every_message/codec.rs"]
mod codec;
#[path = "every_message/meaning.rs"]
mod meaning;
#[path = "every_message/vectors.rs"]
mod vectors;

use std::collections::{BTreeMap, BTreeSet};

use meaning::Shown;
use protocol::primitives::Reader;
use vectors::Vector;

#[test]
fn the_oldest_and_newest_version_of_every_message_agree_with_kafka() {
    let vectors = vectors::checked_in();
    let covered: BTreeSet<_> = vectors.iter().map(|v| (v.message.as_str(), v.version)).collect();
    for codec in codec::MESSAGES {
        assert!(covered.contains(&(codec.name, codec.first)) && covered.contains(&(codec.name, codec.last)));
    }
    check(&vectors);
}

#[test]
fn every_version_of_every_message_agrees_with_kafka() {
    let Some(vectors) = vectors::all() else {
        return eprintln!("skipped: the full set of vectors is not here");
    };
    let covered: BTreeSet<_> = vectors.iter().map(|v| (v.message.as_str(), v.version)).collect();
    let wanted = codec::MESSAGES.iter().flat_map(|codec| (codec.first..=codec.last).map(|v| (codec.name, v)));
    assert_eq!(covered, wanted.collect());
    assert_eq!(vectors.len(), 3188);
    check(&vectors);
}

fn check(vectors: &[Vector]) {
    let mut same_version = BTreeMap::<_, Vec<&Vector>>::new();
    for vector in vectors {
        same_version.entry((&vector.message, vector.version)).or_default().push(vector);
    }
    let wrong: Vec<String> = vectors
        .iter()
        .filter_map(|vector| {
            let siblings = &same_version[&(&vector.message, vector.version)];
            let reason = check_one(vector, siblings).err()?;
            Some(format!("{} {} {}: {reason}", vector.message, vector.version, vector.variant))
        })
        .collect();
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} vectors disagree:\n{shown}", wrong.len(), vectors.len());
}

fn check_one(vector: &Vector, siblings: &[&Vector]) -> Result<(), String> {
    let codec = codec::find(&vector.message);
    let mut r = Reader::new(&vector.bytes);
    let value = (codec.decode)(&mut r, vector.version).map_err(|e| e.to_string())?;
    if r.remaining() > 0 {
        return Err(format!("{} bytes left over", r.remaining()));
    }
    let written = value.encode(vector.version).map_err(|e| e.to_string())?;
    let expected = match vector.variant.as_str() {
        // What nobody knows is not kept, and the rest is as it is in another vector.
        "unknowntags" => {
            siblings.iter().any(|other| other.variant != "unknowntags" && other.bytes == written)
        }
        _ => written == vector.bytes,
    };
    if !expected {
        return Err(format!("other bytes written: {written:02x?}"));
    }
    if !value.is_read_from(&written, vector.version) {
        return Err("what was written reads as something else".to_owned());
    }
    if vector.variant == "default" && (codec.default)().encode(vector.version).as_deref() != Ok(&vector.bytes)
    {
        return Err("other defaults".to_owned());
    }
    if let Some(json) = &vector.json {
        Shown::parse(&format!("{value:?}")).compare(json, "")?;
    }
    let followed = [vector.bytes.as_slice(), b"and more"].concat();
    if !value.is_read_from(&followed, vector.version) {
        return Err("bytes after the message disturb it".to_owned());
    }
    for len in 0..vector.bytes.len() {
        if (codec.accepts)(&mut Reader::new(&vector.bytes[..len]), vector.version).is_ok() {
            return Err(format!("the first {len} bytes are taken for the whole message"));
        }
    }
    Ok(())
}
