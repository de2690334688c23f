//! How a line becomes a record.

use crate::cli::envelope::Parcel;

#[derive(Default)]
pub(super) struct Form {
    pub(super) is_json: bool,
    pub(super) key_delimiter: Option<Vec<u8>>,
    /// Of records that bring none.
    pub(super) key: Option<Vec<u8>>,
    /// After the record's own.
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Over what the record says.
    pub(super) partition: Option<i32>,
    pub(super) is_empty_null: bool,
}

impl Form {
    /// `line` is without its line end. The error says what is wrong with it.
    pub(super) fn parcel(&self, line: &[u8]) -> Result<Parcel, String> {
        let mut parcel = if self.is_json { Parcel::from_json(line)? } else { self.split(line) };
        parcel.key = parcel.key.or_else(|| self.key.clone());
        parcel.partition = self.partition.or(parcel.partition);
        parcel.headers.extend_from_slice(&self.headers);
        Ok(parcel)
    }

    fn split(&self, line: &[u8]) -> Parcel {
        let delimiter = self.key_delimiter.as_deref();
        let found = delimiter.and_then(|delimiter| {
            let at = line.windows(delimiter.len()).position(|window| window == delimiter)?;
            Some((&line[..at], &line[at + delimiter.len()..]))
        });
        let (key, payload) = found.map_or((None, line), |(key, payload)| (Some(key), payload));
        let or_null = |bytes: &[u8]| (!(self.is_empty_null && bytes.is_empty())).then(|| bytes.to_vec());
        Parcel { key: key.and_then(or_null), payload: or_null(payload), ..Parcel::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn key_ends_where_the_delimiter_first_stands() {
        let form = Form { key_delimiter: bytes("::"), ..Form::default() };
        let is = |line: &str, key: Option<&str>, payload: &str| {
            let parcel = form.parcel(line.as_bytes()).unwrap();
            assert_eq!((parcel.key, parcel.payload), (key.and_then(bytes), bytes(payload)), "{line}");
        };
        is("alice::1::2", Some("alice"), "1::2");
        is("::1", Some(""), "1");
        is("alice::", Some("alice"), "");
        is("alice:1", None, "alice:1");
        is("", None, "");
    }

    #[test]
    fn empty_is_null_where_asked_for() {
        let form = Form { key_delimiter: bytes(":"), is_empty_null: true, ..Form::default() };
        let tombstone = form.parcel(b"alice:").unwrap();
        assert_eq!((tombstone.key, tombstone.payload), (bytes("alice"), None));
        let unkeyed = form.parcel(b":v").unwrap();
        assert_eq!((unkeyed.key, unkeyed.payload), (None, bytes("v")));
    }

    #[test]
    fn command_line_adds_to_what_a_record_says() {
        let form = Form {
            is_json: true,
            key: bytes("fallback"),
            headers: vec![(b"from".to_vec(), bytes("here"))],
            partition: Some(2),
            ..Form::default()
        };
        let parcel = form.parcel(br#"{"payload":"v","headers":["a","1"],"partition":0}"#).unwrap();
        assert_eq!(parcel.key, bytes("fallback"));
        assert_eq!(parcel.headers, [(b"a".to_vec(), bytes("1")), (b"from".to_vec(), bytes("here"))]);
        assert_eq!(parcel.partition, Some(2));
        assert_eq!(form.parcel(br#"{"key":"own"}"#).unwrap().key, bytes("own"));
        assert!(form.parcel(b"hello").is_err());
    }
}
