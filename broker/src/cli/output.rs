//! Standard output: tables for people, tabs for pipes, JSON for programs.

use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;

use super::failure::Failure;

/// For which the shapes of `--json` are kept; a change that breaks readers raises it.
pub(crate) const JSON_VERSION: u32 = 1;

pub(crate) struct Output<'w> {
    out: BufWriter<Box<dyn Write + 'w>>,
    is_terminal: bool,
}

impl<'w> Output<'w> {
    pub(crate) fn stdout() -> Output<'static> {
        let is_terminal = io::stdout().is_terminal();
        Output { out: BufWriter::new(Box::new(io::stdout().lock())), is_terminal }
    }

    #[cfg(test)]
    pub(crate) fn to(bytes: &'w mut Vec<u8>, is_terminal: bool) -> Self {
        Self { out: BufWriter::new(Box::new(bytes)), is_terminal }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(|error| Failure::of_output(&error))
    }

    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.bytes(line.as_bytes())?;
        self.bytes(b"\n")
    }

    /// One value on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_vec(value).expect("our values have text keys and finite numbers");
        self.bytes(&text)?;
        self.bytes(b"\n")
    }

    /// Aligned on a terminal, separated by tabs elsewhere.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let widths: Vec<usize> = (0..table.head.len())
            .map(|column| table.lines().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        for line in table.lines() {
            let text = if self.is_terminal {
                let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
                cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
            } else {
                line.join("\t")
            };
            self.line(&text)?;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::of_output(&error))
    }
}

/// Rows under a head.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.head.len(), "a cell for every column");
        self.rows.push(cells);
    }

    fn lines(&self) -> impl Iterator<Item = &Vec<String>> {
        std::iter::once(&self.head).chain(&self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(is_terminal: bool) -> String {
        let mut bytes = Vec::new();
        let mut table = Table::new(&["TOPIC", "PARTITIONS"]);
        table.row(vec!["orders".to_owned(), "12".to_owned()]);
        let mut output = Output::to(&mut bytes, is_terminal);
        output.table(&table).unwrap();
        output.flush().unwrap();
        drop(output);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn tables_are_aligned_for_people_and_split_by_tabs_for_pipes() {
        assert_eq!(printed(true), "TOPIC   PARTITIONS\norders  12\n");
        assert_eq!(printed(false), "TOPIC\tPARTITIONS\norders\t12\n");
    }

    #[test]
    fn reader_that_went_away_is_no_error_worth_telling() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut output = Output { out: BufWriter::new(Box::new(Gone)), is_terminal: false };
        output.line("hello").unwrap();
        assert!(matches!(output.flush(), Err(Failure::NobodyReads)));
    }
}
