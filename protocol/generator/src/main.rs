//! Writes the message types of the `protocol` crate from its schemas. Run as `cargo generate` in the workspace.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let protocol =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the generator lives in protocol/generator");
    match protocol_generator::generate_from(protocol).and_then(|files| replace(protocol, &files)) {
        Ok(written) => {
            println!("{written} files changed");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the generated folder hold these files and no others. Files that are current keep their time stamp.
#[expect(clippy::disallowed_methods, reason = "a development tool, far from any reactor")]
fn replace(protocol: &Path, files: &BTreeMap<String, String>) -> Result<usize, String> {
    let mut changed = 0;
    for stale in protocol_generator::checked_in(protocol)?.keys().filter(|name| !files.contains_key(*name)) {
        fs::remove_file(protocol.join(stale)).map_err(|e| format!("{stale}: {e}"))?;
        changed += 1;
    }
    for (name, text) in files {
        let path = protocol.join(name);
        if fs::read_to_string(&path).is_ok_and(|current| current == *text) {
            continue;
        }
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))
            .map_err(|e| format!("{name}: {e}"))?;
        fs::write(&path, text).map_err(|e| format!("{name}: {e}"))?;
        changed += 1;
    }
    Ok(changed)
}
