//! A record with all that belongs to it as one line of JSON, the form of kcat's `-J`. What `consume -J` writes, `produce --json`
//! reads.
//!
//! Bytes that are not UTF-8 become `{"base64": "..."}`, so that nothing is lost on the way.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

mod base64;

/// As consumed.
#[derive(Serialize)]
pub(crate) struct Envelope<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// `create` or `logappend`: whose clock it was.
    pub(crate) tstype: &'static str,
    pub(crate) ts: i64,
    /// The node it came from.
    pub(crate) broker: i32,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    pub(crate) headers: Headers<'a>,
    pub(crate) key: Text<'a>,
    pub(crate) payload: Text<'a>,
}

/// Name and value in turns, as kcat has them: names may repeat.
pub(crate) struct Headers<'a>(pub(crate) Vec<(&'a [u8], Option<&'a [u8]>)>);

impl Headers<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len() * 2))?;
        for (name, value) in &self.0 {
            sequence.serialize_element(&String::from_utf8_lossy(name))?;
            sequence.serialize_element(&Text(*value))?;
        }
        sequence.end()
    }
}

/// Bytes that are text most of the time.
pub(crate) struct Text<'a>(pub(crate) Option<&'a [u8]>);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(bytes) = self.0 else { return serializer.serialize_none() };
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(BASE64, &base64::encode(bytes))?;
                map.end()
            }
        }
    }
}

const BASE64: &str = "base64";

/// A record to be produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// What may be written down. Topic, offset and the like are where the record was, not where it goes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default, alias = "timestamp")]
    ts: Option<i64>,
    #[serde(default)]
    key: Value,
    #[serde(default, alias = "value")]
    payload: Value,
    #[serde(default)]
    headers: Vec<Value>,
    #[serde(default, rename = "topic")]
    _topic: Value,
    #[serde(default, rename = "offset")]
    _offset: Value,
    #[serde(default, rename = "tstype")]
    _tstype: Value,
    #[serde(default, rename = "broker")]
    _broker: Value,
}

impl Parcel {
    /// Reads one line; the error says what is wrong with it.
    pub(crate) fn from_json(line: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let (names, values) = (written.headers.iter().step_by(2), written.headers.iter().skip(1).step_by(2));
        if names.len() != values.len() {
            return Err(
                "headers: a name without a value; expected [name, value, name, value, ...]".to_owned()
            );
        }
        let headers = names.zip(values).map(|(name, value)| {
            let name = name.as_str().ok_or("headers: a name that is no text")?;
            Ok((name.as_bytes().to_vec(), bytes(value, "headers")?))
        });
        Ok(Self {
            partition: written.partition,
            timestamp: written.ts.filter(|timestamp| *timestamp >= 0),
            key: bytes(&written.key, "key")?,
            payload: bytes(&written.payload, "payload")?,
            headers: headers.collect::<Result<_, String>>()?,
        })
    }
}

fn bytes(value: &Value, field: &str) -> Result<Option<Vec<u8>>, String> {
    let wrong = || format!("{field}: expected text, null or {{\"base64\": \"...\"}}");
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone().into_bytes())),
        Value::Object(map) if map.len() == 1 => {
            let text = map.get(BASE64).and_then(Value::as_str).ok_or_else(wrong)?;
            base64::decode(text).map(Some).ok_or_else(|| format!("{field}: not base64"))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope<'a>(key: Option<&'a [u8]>, payload: Option<&'a [u8]>) -> Envelope<'a> {
        Envelope {
            topic: "orders",
            partition: 3,
            offset: 42,
            tstype: "create",
            ts: 1_700_000_000_000,
            broker: 1,
            headers: Headers(Vec::new()),
            key: Text(key),
            payload: Text(payload),
        }
    }

    #[test]
    fn lines_are_those_of_kcat() {
        let text = serde_json::to_string(&envelope(None, Some(b"hello \"you\""))).unwrap();
        let expected = r#"{"topic":"orders","partition":3,"offset":42,"tstype":"create","ts":1700000000000,"broker":1,"key":null,"payload":"hello \"you\""}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_written_is_read_back_whatever_the_bytes() {
        let wild: &[u8] = &[0xff, 0, b'x', 0xc3, 0x28];
        let pairs: [(&[u8], Option<&[u8]>); 3] = [(b"a", Some(b"1")), (b"a", None), (b"b", Some(wild))];
        let line = serde_json::to_vec(&Envelope {
            headers: Headers(pairs.to_vec()),
            ..envelope(Some("schlüssel".as_bytes()), Some(wild))
        });
        let parcel = Parcel::from_json(&line.unwrap()).unwrap();
        let headers = pairs.map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)));
        assert_eq!(
            parcel,
            Parcel {
                partition: Some(3),
                timestamp: Some(1_700_000_000_000),
                key: Some("schlüssel".as_bytes().to_vec()),
                payload: Some(wild.to_vec()),
                headers: headers.to_vec(),
            }
        );
    }

    #[test]
    fn only_what_is_said_is_set() {
        let is = |line: &str, parcel| assert_eq!(Parcel::from_json(line.as_bytes()), Ok(parcel), "{line}");
        is("{}", Parcel::default());
        is(r#"{"payload":""}"#, Parcel { payload: Some(Vec::new()), ..Parcel::default() });
        is(r#"{"value":"v","ts":-1}"#, Parcel { payload: Some(b"v".to_vec()), ..Parcel::default() });
    }

    #[test]
    fn mistakes_are_named() {
        let fails = |line: &str, with: &str| {
            let error = Parcel::from_json(line.as_bytes()).unwrap_err();
            assert!(error.contains(with), "{line}: {error}");
        };
        fails(r#"{"paylod":"v"}"#, "paylod");
        fails(r#"{"payload":{"a":1}}"#, "payload: expected text");
        fails(r#"{"key":7}"#, "key: expected text");
        fails(r#"{"key":{"base64":"%"}}"#, "key: not base64");
        fails(r#"{"headers":["a"]}"#, "without a value");
        fails(r#"{"headers":[1,"a"]}"#, "no text");
        fails("hello", "expected value");
    }
}
