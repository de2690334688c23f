//! Lines from standard input or files, and whether the next one is already there.
#![allow(clippy::disallowed_methods, reason = "commands run without a reactor and read plain files")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use crate::cli::failure::Failure;

/// About one batch, so that a file is sent in batches as large as they may be.
const READ_BYTES: usize = 256 << 10;
/// No broker takes such a record; most likely it is no text at all.
const LINE_BYTES_MAX: usize = 256 << 20;

pub(super) struct Input {
    name: String,
    reader: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    count: u64,
    /// All there is to read, where that is known.
    bytes: u64,
}

impl Input {
    /// The files, opened before anything is sent; standard input if there are none.
    pub(super) fn all(files: &[PathBuf]) -> Result<Vec<Self>, Failure> {
        if files.is_empty() {
            return Ok(vec![Self::of("standard input", Box::new(io::stdin()))]);
        }
        let open = |path: &PathBuf| {
            let name = path.display().to_string();
            let file =
                File::open(path).map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))?;
            let bytes = file.metadata().map_or(0, |facts| facts.len());
            Ok(Self { bytes, ..Self::of(&name, Box::new(file)) })
        };
        files.iter().map(open).collect()
    }

    fn of(name: &str, reader: Box<dyn Read>) -> Self {
        let reader = BufReader::with_capacity(READ_BYTES, reader);
        Self { name: name.to_owned(), reader, line: Vec::new(), count: 0, bytes: 0 }
    }

    /// The next line without its end. The last one may lack its end.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.line);
        read.map_err(|error| Failure::failed(format!("cannot read {}: {error}", self.name)))?;
        if self.line.is_empty() {
            return Ok(None);
        }
        self.count += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > LINE_BYTES_MAX {
            return Err(Failure::failed(format!(
                "{}: a line of more than {LINE_BYTES_MAX} bytes",
                self.place()
            )));
        }
        Ok(Some(&self.line))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the next line may have to be waited for: what was collected should not wait with it.
    pub(super) fn would_wait(&self) -> bool {
        !self.reader.buffer().contains(&b'\n')
    }

    /// Of the line that was read last.
    pub(super) fn place(&self) -> String {
        format!("{}, line {}", self.name, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_end_and_nothing_else() {
        let mut input = Input::of("test", Box::new(&b"a\r\n\n b \nlast"[..]));
        let mut lines = Vec::new();
        while let Some(line) = input.next_line().unwrap() {
            lines.push(line.to_vec());
        }
        assert_eq!(lines, [&b"a\r"[..], b"", b" b ", b"last"]);
        assert_eq!(input.place(), "test, line 4");
    }

    #[test]
    fn line_that_is_already_there_is_not_waited_for() {
        let mut input = Input::of("test", Box::new(&b"a\nb\nhalf"[..]));
        input.next_line().unwrap();
        assert!(!input.would_wait(), "b is there");
        input.next_line().unwrap();
        assert!(input.would_wait(), "half a line is no line");
    }
}
