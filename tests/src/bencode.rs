//! Writes bencode (BEP 3), for metainfo files and trackers' answers.
//!
//! Written apart from the engine's, so that one mistake cannot agree with itself.

use std::collections::BTreeMap;

/// A value; dictionaries keep their keys in the order that BEP 3 demands.
#[derive(Debug, Clone)]
pub enum Value {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dict(BTreeMap<Vec<u8>, Self>),
}

impl Value {
    /// A dictionary of these keys.
    pub fn dict<K: Into<Vec<u8>>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Dict(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }

    /// The encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
            Self::Bytes(bytes) => write_bytes(bytes, out),
            Self::List(items) => {
                out.push(b'l');
                for item in items {
                    item.write(out);
                }
                out.push(b'e');
            }
            Self::Dict(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    write_bytes(key, out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).expect("lengths of tests fit i64"))
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_lengths_are_bytes() {
        let value = Value::dict([
            ("spam", Value::List(vec![Value::Int(-3), Value::from("é")])),
            ("cow", Value::from("moo")),
        ]);
        assert_eq!(value.encode(), "d3:cow3:moo4:spamli-3e2:éee".as_bytes());
    }
}
