//! A log file, batch by batch, in as much memory as its largest batch takes.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use protocol::records::batch::{BatchError, BatchView, LENGTH_OVERHEAD_BYTES, next_len};

pub(super) struct BatchFile {
    reader: BufReader<File>,
    bytes: u64,
    position: u64,
    batch: Vec<u8>,
}

pub(super) enum Next<'a> {
    /// A batch and where it begins. Its checksum is not looked at.
    Batch(u64, BatchView<'a>),
    End,
    /// What begins here is no batch, and so nothing behind it can be found.
    Stopped(Stopped),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stopped {
    pub(super) position: u64,
    /// To the end of the file.
    pub(super) bytes_left: u64,
    pub(super) why: String,
    /// Room that was made ahead and not used yet.
    pub(super) is_zero: bool,
}

const READ_BYTES: usize = 1 << 20;
/// Up to and with the magic: as much as tells how long a batch is.
const HEAD_BYTES: u64 = 17;
const LENGTH_AT: usize = 8;

impl BatchFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { reader: BufReader::with_capacity(READ_BYTES, file), bytes, position: 0, batch: Vec::new() })
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        let left = self.bytes - self.position;
        if left == 0 {
            return Ok(Next::End);
        }
        self.batch.clear();
        self.read_on(HEAD_BYTES.min(left))?;
        let whole = match next_len(&self.batch) {
            _ if (self.batch.len() as u64) < HEAD_BYTES => {
                return self.stopped("the file ends within a batch's header");
            }
            Err(error) => return self.stopped(&error.to_string()),
            Ok(_) => LENGTH_OVERHEAD_BYTES as u64 + u64::from(self.length_field()),
        };
        if whole > left {
            return self.stopped(&format!("a batch of {whole} bytes where {left} are left"));
        }
        self.read_on(whole - HEAD_BYTES)?;
        if (self.batch.len() as u64) < whole {
            return self.stopped("the file became shorter while it was read");
        }
        let position = self.position;
        // Asked twice, since a borrow that is returned in one arm would last through the other.
        if let Err(error) = BatchView::parse(&self.batch) {
            return self.stopped(&error.to_string());
        }
        self.position += whole;
        let batch = BatchView::parse(&self.batch).map_err(|error: BatchError| io::Error::other(error))?;
        Ok(Next::Batch(position, batch))
    }

    fn read_on(&mut self, bytes: u64) -> io::Result<()> {
        (&mut self.reader).take(bytes).read_to_end(&mut self.batch).map(|_| ())
    }

    /// The head is there and was found to be sound.
    fn length_field(&self) -> u32 {
        let field = self.batch[LENGTH_AT..].first_chunk().expect("the head holds the length");
        u32::from_be_bytes(*field)
    }

    fn stopped(&mut self, why: &str) -> io::Result<Next<'_>> {
        let bytes_left = self.bytes - self.position;
        let stopped = Stopped {
            position: self.position,
            bytes_left,
            why: why.to_owned(),
            is_zero: self.rest_is_zero()?,
        };
        Ok(Next::Stopped(stopped))
    }

    fn rest_is_zero(&mut self) -> io::Result<bool> {
        self.reader.seek(SeekFrom::Start(self.position))?;
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match self.reader.read(&mut chunk)? {
                0 => return Ok(true),
                read if chunk[..read].iter().any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use protocol::records::batch::BatchHeader;
    use protocol::records::builder::BatchBuilder;

    use super::*;
    use crate::cli::scratch::Folder;

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchHeader::default());
        builder.append(0, Some(b"k"), Some(b"v"), &[]).unwrap();
        builder.build().unwrap()
    }

    /// Positions of the batches, and where and why it stopped.
    fn read(bytes: &[u8]) -> (Vec<u64>, Option<Stopped>) {
        let folder = Folder::new("batches");
        let path = folder.path().join("00000000000000000000.log");
        fs::write(&path, bytes).unwrap();
        let mut file = BatchFile::open(&path).unwrap();
        let mut found = Vec::new();
        loop {
            match file.next().unwrap() {
                Next::Batch(position, _) => found.push(position),
                Next::End => return (found, None),
                Next::Stopped(stopped) => return (found, Some(stopped)),
            }
        }
    }

    #[test]
    fn every_whole_batch_is_found_and_what_follows_is_told() {
        let batch = batch();
        let len = batch.len() as u64;
        let two = batch.repeat(2);
        assert_eq!(read(&two), (vec![0, len], None));
        assert_eq!(read(b""), (vec![], None));
        for cut in 1..batch.len() {
            let (found, stopped) = read(&two[..batch.len() + cut]);
            let stopped = stopped.unwrap();
            assert_eq!((found, stopped.position, stopped.bytes_left), (vec![0], len, cut as u64));
        }
        let (found, stopped) = read(&[&batch[..], &[0; 5000]].concat());
        let stopped = stopped.unwrap();
        assert_eq!((found, stopped.is_zero, stopped.bytes_left), (vec![0], true, 5000));
        let (_, stopped) = read(&[&batch[..], &[0; 5000], &batch].concat());
        assert!(!stopped.unwrap().is_zero, "something lies behind the zeros");
        let mut huge = batch.clone();
        huge[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(read(&huge).1.unwrap().why.contains("2147483659 bytes"));
    }
}
