//! The checked-in message types are what the generator makes of the schemas.

use std::path::Path;

#[test]
fn generated_files_are_what_the_generator_writes() {
    let protocol = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wanted = protocol_generator::generate_from(protocol).unwrap();
    let found = protocol_generator::checked_in(protocol).unwrap();
    let stale: Vec<&String> =
        found.keys().chain(wanted.keys()).filter(|name| found.get(*name) != wanted.get(*name)).collect();
    assert!(stale.is_empty(), "run `cargo generate`: {stale:?}");
    assert!(wanted.len() > 270, "{} files", wanted.len());
}
