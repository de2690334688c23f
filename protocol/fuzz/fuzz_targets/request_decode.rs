//! Any bytes as a request: header, then the message in the version that the header names.

#![no_main]

#[path = "../../tests/every_message/codec.rs"]
mod codec;

libfuzzer_sys::fuzz_target!(|frame: &[u8]| codec::decode_request(frame));
