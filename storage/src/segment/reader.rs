//! Goes through the batches of a segment's file in order, with few large reads.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use protocol::records::batch::{BatchView, LENGTH_OVERHEAD_BYTES};

use crate::disk::{BLOCK_BYTES, Class, File};

/// Bytes per read where everything will be read.
pub(crate) const SCAN_BYTES: usize = 1 << 20;
/// And of the first one, for often there is little.
const FIRST_SCAN_BYTES: usize = 64 << 10;

pub(crate) struct Walk {
    file: Rc<dyn File>,
    class: Class,
    /// Of the next read; grows up to the other.
    read_bytes: usize,
    read_bytes_max: usize,
    /// Where the next batch begins.
    position: u32,
    /// Where the content ends.
    end: u32,
    window: Bytes,
    window_start: u32,
    /// The file ended here, short of `end`.
    file_end: Option<u32>,
}

/// What lies at a position.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole batch; its checksum is not yet compared.
    Batch { position: u32, bytes: Bytes },
    /// The content ends here.
    End,
    /// No batch.
    Bad { position: u32, found: String },
}

impl Walk {
    /// From `position`, where a batch begins, to `end`.
    pub(crate) fn new(file: Rc<dyn File>, position: u32, end: u32, read_bytes: usize, class: Class) -> Self {
        Self {
            file,
            class,
            read_bytes,
            read_bytes_max: read_bytes,
            position,
            end,
            window: Bytes::new(),
            window_start: position,
            file_end: None,
        }
    }

    /// For a scan to `end`, of which perhaps only a little is content.
    pub(crate) fn scan(file: Rc<dyn File>, position: u32, end: u32) -> Self {
        let walk = Self::new(file, position, end, FIRST_SCAN_BYTES, Class::Background);
        Self { read_bytes_max: SCAN_BYTES, ..walk }
    }

    pub(crate) async fn next(&mut self) -> io::Result<Step> {
        loop {
            match self.in_window() {
                Ok(step) => return Ok(step),
                Err(wanted) => self.fetch(wanted).await?,
            }
        }
    }

    /// Goes back to a batch that is in the window.
    pub(crate) fn rewind(&mut self, position: u32) {
        assert!((self.window_start..=self.position).contains(&position), "what was read last");
        self.position = position;
    }

    /// As [`Self::next`], if it can be told without another read.
    pub(crate) fn next_at_hand(&mut self) -> Option<Step> {
        self.in_window().ok()
    }

    /// What was read last and where it begins. It may hold part of a batch at either end.
    pub(crate) fn window(&self) -> (u32, Bytes) {
        (self.window_start, self.window.clone())
    }

    /// The next step, or how many bytes from here on are needed to tell.
    fn in_window(&mut self) -> Result<Step, usize> {
        if self.position >= self.end {
            return Ok(Step::End);
        }
        let rest = self.window.get((self.position - self.window_start) as usize..).unwrap_or_default();
        let left = (self.end - self.position) as usize;
        let wanted = wanted_bytes(rest);
        if wanted.is_some_and(|wanted| wanted <= rest.len()) {
            return Ok(self.take());
        }
        let wanted = wanted.unwrap_or(LENGTH_OVERHEAD_BYTES);
        if wanted > left {
            return Ok(self.bad(format!("a batch of {wanted} bytes where {left} are left")));
        }
        match self.file_end {
            Some(end) => Ok(self.bad(format!("the file ends at byte {end}"))),
            None => Err(wanted),
        }
    }

    /// The batch here is all there, if it is one.
    fn take(&mut self) -> Step {
        let from = (self.position - self.window_start) as usize;
        match BatchView::parse(&self.window[from..]) {
            Ok(batch) => {
                let bytes = self.window.slice(from..from + batch.batch_len());
                let position = self.position;
                self.position += u32::try_from(bytes.len()).expect("checked against the content");
                Step::Batch { position, bytes }
            }
            Err(error) => self.bad(error.to_string()),
        }
    }

    fn bad(&self, found: String) -> Step {
        Step::Bad { position: self.position, found }
    }

    async fn fetch(&mut self, wanted: usize) -> io::Result<()> {
        const BLOCK: u64 = BLOCK_BYTES as u64;
        let (from, end) = (u64::from(self.position), u64::from(self.end));
        let start = from - from % BLOCK;
        let stop = (from + wanted.max(self.read_bytes) as u64).min(end).next_multiple_of(BLOCK);
        let bytes = usize::try_from(stop - start).expect("a part of a segment");
        self.read_bytes = (2 * self.read_bytes).min(self.read_bytes_max);
        let mut data = self.file.read_at(start, bytes, self.class).await?;
        data.truncate(usize::try_from(end - start).expect("a part of a segment"));
        let reached = start + data.len() as u64;
        if reached < stop.min(end) {
            self.file_end = Some(u32::try_from(reached).expect("below the end of the content"));
        }
        self.window_start = u32::try_from(start).expect("below the position");
        self.window = data;
        Ok(())
    }
}

/// How many bytes the batch here takes, if it has a length that can be true.
fn wanted_bytes(rest: &[u8]) -> Option<usize> {
    let length = rest.get(LENGTH_OVERHEAD_BYTES - 4..LENGTH_OVERHEAD_BYTES)?;
    let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
    // Anything else is judged by what parses it.
    Some(usize::try_from(length).map_or(0, |length| LENGTH_OVERHEAD_BYTES + length))
}

#[cfg(test)]
mod tests {
    use protocol::records::batch::BatchHeader;
    use protocol::records::builder::BatchBuilder;

    use super::*;
    use crate::disk::memory::{Executor, MemoryDisk};
    use crate::disk::{Disk, Mode};

    fn batch(bytes: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchHeader::default());
        builder.append(0, None, Some(&vec![7; bytes]), &[]).unwrap();
        builder.build().unwrap()
    }

    fn walk(content: &[u8], end: usize, read_bytes: usize) -> (Vec<usize>, Step) {
        let disk = MemoryDisk::new(1).immediate();
        disk.put("f", content);
        Executor::new(1).block_on(async {
            let file = disk.open("f", Mode::Direct).await.unwrap();
            let end = u32::try_from(end).unwrap();
            let mut walk = Walk::new(file, 0, end, read_bytes, Class::Background);
            let mut sizes = Vec::new();
            loop {
                match walk.next().await.unwrap() {
                    Step::Batch { bytes, .. } => sizes.push(bytes.len()),
                    step => return (sizes, step),
                }
            }
        })
    }

    #[test]
    fn all_batches_are_found_whatever_the_size_of_a_read() {
        let content: Vec<u8> = [10, 4000, 10, 20_000, 1].into_iter().flat_map(batch).collect();
        for read_bytes in [1, 4096, 5000, 1 << 20] {
            let (sizes, step) = walk(&content, content.len(), read_bytes);
            assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (5, content.len()));
            assert!(matches!(step, Step::End));
        }
    }

    #[test]
    fn end_of_the_content_is_not_the_end_of_the_file() {
        let mut content: Vec<u8> = [10, 4000].into_iter().flat_map(batch).collect();
        let end = content.len();
        content.resize(65536, 0);
        assert!(matches!(walk(&content, end, 4096), (sizes, Step::End) if sizes.len() == 2));
        let (sizes, step) = walk(&content, content.len(), 4096);
        assert!(sizes.len() == 2 && matches!(step, Step::Bad { position, .. } if position as usize == end));
    }

    #[test]
    fn batch_cut_short_is_bad_where_it_begins() {
        let first = batch(10);
        let content = [first.clone(), batch(9000)].concat();
        for (len, end) in [
            (first.len() + 5, first.len() + 5),
            (content.len() - 1, content.len() - 1),
            (9000, content.len()),
        ] {
            let (sizes, step) = walk(&content[..len], end, 4096);
            assert_eq!(sizes, [first.len()]);
            assert!(
                matches!(step, Step::Bad { position, .. } if position as usize == first.len()),
                "{step:?}"
            );
        }
    }
}
