//! Bencoding (BEP 3): a decoder that keeps exact byte spans and an encoder that writes canonically.
//!
//! The decoder makes one flat table of spans over the input: it never recurses, allocates nothing
//! that the input announces but does not hold, and stops at a depth and a token limit. It refuses
//! leading zeros and negative zero. It accepts unsorted and repeated keys, because an info hash is
//! taken over the bytes as they came: [`Element::raw`].

use std::collections::BTreeMap;

/// Bounds of one decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Deepest nesting of lists and dictionaries; the outermost is 1.
    pub depth_max: usize,
    /// Most values, keys included.
    pub tokens_max: usize,
}

impl DecodeLimits {
    /// For one message of a peer or one answer of a tracker.
    pub const MESSAGE: Self = Self {
        depth_max: 16,
        tokens_max: 16 * 1024,
    };
    /// For an `info` dictionary of up to 10 MiB.
    pub const METAINFO: Self = Self {
        depth_max: 100,
        tokens_max: 3_000_000,
    };
}

/// Why bytes are not bencoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("ends inside a value at byte {at}")]
    Truncated {
        /// Where the value began or went on.
        at: usize,
    },
    /// No value starts with this byte.
    #[error("unexpected byte {byte:#04x} at byte {at}")]
    Unexpected {
        /// What was found.
        byte: u8,
        /// Where.
        at: usize,
    },
    /// An integer or a length has leading zeros, no digits, or is minus zero.
    #[error("malformed number at byte {at}")]
    Number {
        /// Where it begins.
        at: usize,
    },
    /// A string is longer than what is left.
    #[error("string at byte {at} is longer than the {left} bytes left")]
    StringLength {
        /// Where its length begins.
        at: usize,
        /// Bytes behind the colon.
        left: usize,
    },
    /// A dictionary's key is not a string.
    #[error("dictionary key at byte {at} is not a string")]
    Key {
        /// Where.
        at: usize,
    },
    /// A dictionary ends behind a key.
    #[error("dictionary key without a value at byte {at}")]
    KeyWithoutValue {
        /// Where the dictionary ends.
        at: usize,
    },
    /// Nested too deep.
    #[error("nested deeper than {max} at byte {at}")]
    Depth {
        /// Where.
        at: usize,
        /// The bound.
        max: usize,
    },
    /// Too many values.
    #[error("more than {max} values")]
    Tokens {
        /// The bound.
        max: usize,
    },
    /// More input than spans can point at (4 GiB).
    #[error("{len} bytes are too many")]
    TooLong {
        /// Length of the input.
        len: usize,
    },
    /// Bytes behind the outermost value.
    #[error("{0} bytes after the value")]
    Trailing(usize),
}

/// Decodes one value that is the whole of `bytes`.
pub fn decode<'a>(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Document<'a>, DecodeError> {
    let document = decode_prefix(bytes, limits)?;
    match document.rest().len() {
        0 => Ok(document),
        left => Err(DecodeError::Trailing(left)),
    }
}

/// Decodes one value at the front of `bytes`; [`Document::rest`] is what follows it.
///
/// `O(bytes)`, 12 bytes of memory per value.
pub fn decode_prefix<'a>(
    bytes: &'a [u8],
    limits: &DecodeLimits,
) -> Result<Document<'a>, DecodeError> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(DecodeError::TooLong { len: bytes.len() });
    }
    let mut scanner = Scanner {
        bytes,
        limits,
        tokens: Vec::new(),
        open: Vec::new(),
    };
    let end = scanner.scan()?;
    Ok(Document {
        bytes,
        tokens: scanner.tokens,
        end,
    })
}

/// A decoded value and everything inside it, borrowed from the input.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    bytes: &'a [u8],
    tokens: Vec<TokenSpan>,
    end: usize,
}

impl<'a> Document<'a> {
    /// The outermost value.
    pub fn root(&self) -> Element<'_> {
        Element {
            bytes: self.bytes,
            tokens: &self.tokens,
        }
    }

    /// The bytes behind the outermost value.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.end..]
    }
}

/// One value inside a [`Document`].
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    bytes: &'a [u8],
    /// This value's token, then those of everything inside it, then others.
    tokens: &'a [TokenSpan],
}

impl<'a> Element<'a> {
    /// The exact bytes of this value.
    pub fn raw(&self) -> &'a [u8] {
        let token = self.token();
        &self.bytes[index(token.start)..index(token.end)]
    }

    /// The bytes of a string; `None` for another kind of value.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        let raw = self.raw();
        if !raw[0].is_ascii_digit() {
            return None;
        }
        let colon = raw.iter().position(|byte| *byte == b':')?;
        Some(&raw[colon + 1..])
    }

    /// A string of exactly `N` bytes.
    pub fn as_array<const N: usize>(&self) -> Option<[u8; N]> {
        self.as_bytes()?.try_into().ok()
    }

    /// A string in UTF-8; `None` for other bytes and other kinds of value.
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// An integer; `None` past the range of an `i64` and for another kind of value.
    pub fn as_i64(&self) -> Option<i64> {
        self.digits()?.parse().ok()
    }

    /// An integer; `None` below 0, past the range of a `u64` and for another kind of value.
    pub fn as_u64(&self) -> Option<u64> {
        self.digits()?.parse().ok()
    }

    /// Whether this is an integer, of whatever size.
    pub fn is_int(&self) -> bool {
        self.digits().is_some()
    }

    /// The items of a list; `None` for another kind of value.
    pub fn items(&self) -> Option<Items<'a>> {
        (self.raw()[0] == b'l').then(|| self.inside())
    }

    /// The keys and values of a dictionary in the order of the input; `None` for another kind.
    pub fn entries(&self) -> Option<Entries<'a>> {
        (self.raw()[0] == b'd').then(|| Entries(self.inside()))
    }

    /// The value of a dictionary's key, the first if the key is repeated; `None` if it is absent or
    /// this is no dictionary. Linear in the entries.
    pub fn get(&self, key: &str) -> Option<Self> {
        let (_, value) = self.entries()?.find(|(name, _)| *name == key.as_bytes())?;
        Some(value)
    }

    /// How many values this is: itself, what is inside it, and keys.
    pub fn value_count(&self) -> usize {
        index(self.token().size)
    }

    fn inside(&self) -> Items<'a> {
        let inside = index(self.token().size);
        Items {
            bytes: self.bytes,
            tokens: &self.tokens[1..inside],
        }
    }

    fn digits(&self) -> Option<&'a str> {
        let digits = self.raw().strip_prefix(b"i")?.strip_suffix(b"e")?;
        std::str::from_utf8(digits).ok()
    }

    fn token(&self) -> TokenSpan {
        self.tokens[0]
    }
}

/// The items of a list, front to back.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    bytes: &'a [u8],
    tokens: &'a [TokenSpan],
}

impl<'a> Iterator for Items<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let size = index(self.tokens.first()?.size);
        let node = Element {
            bytes: self.bytes,
            tokens: self.tokens,
        };
        self.tokens = &self.tokens[size..];
        Some(node)
    }
}

/// The entries of a dictionary, front to back.
#[derive(Clone, Debug)]
pub struct Entries<'a>(Items<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Element<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.next()?;
        let key = key.as_bytes().expect("the scanner accepts no other keys");
        let value = self.0.next().expect("the scanner accepts no key without");
        Some((key, value))
    }
}

/// A value's span, and how many tokens it and everything inside it take.
#[derive(Clone, Copy, Debug)]
struct TokenSpan {
    start: u32,
    end: u32,
    size: u32,
}

/// A list or dictionary that has not ended yet.
struct Unended {
    token: usize,
    dictionary: bool,
    /// In a dictionary: a key has been read and its value has not.
    key_read: bool,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    limits: &'a DecodeLimits,
    tokens: Vec<TokenSpan>,
    open: Vec<Unended>,
}

impl Scanner<'_> {
    /// Fills the table; returns where the outermost value ends.
    fn scan(&mut self) -> Result<usize, DecodeError> {
        let mut at = 0;
        loop {
            let byte = *self.bytes.get(at).ok_or(DecodeError::Truncated { at })?;
            at = match byte {
                b'e' if !self.open.is_empty() => self.close(at)?,
                b'd' | b'l' => self.enter(at, byte == b'd')?,
                b'i' => self.leaf(at, self.integer_end(at)?)?,
                b'0'..=b'9' => self.leaf(at, self.string_end(at)?)?,
                byte => return Err(DecodeError::Unexpected { byte, at }),
            };
            if self.open.is_empty() {
                return Ok(at);
            }
        }
    }

    fn enter(&mut self, at: usize, dictionary: bool) -> Result<usize, DecodeError> {
        if self.open.len() >= self.limits.depth_max {
            let max = self.limits.depth_max;
            return Err(DecodeError::Depth { at, max });
        }
        self.place(at, false)?;
        let token = self.push(at, at + 1)?;
        self.open.push(Unended {
            token,
            dictionary,
            key_read: false,
        });
        Ok(at + 1)
    }

    fn close(&mut self, at: usize) -> Result<usize, DecodeError> {
        let open = self.open.pop().expect("the caller looked");
        if open.key_read {
            return Err(DecodeError::KeyWithoutValue { at });
        }
        let size = self.tokens.len() - open.token;
        let token = &mut self.tokens[open.token];
        token.end = offset(at + 1);
        token.size = offset(size);
        Ok(at + 1)
    }

    fn leaf(&mut self, at: usize, end: usize) -> Result<usize, DecodeError> {
        self.place(at, self.bytes[at] != b'i')?;
        self.push(at, end)?;
        Ok(end)
    }

    /// Accounts for a value in the dictionary around it, where every other value is a key.
    fn place(&mut self, at: usize, string: bool) -> Result<(), DecodeError> {
        match self.open.last_mut() {
            Some(open) if open.dictionary => {
                if !open.key_read && !string {
                    return Err(DecodeError::Key { at });
                }
                open.key_read = !open.key_read;
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn push(&mut self, start: usize, end: usize) -> Result<usize, DecodeError> {
        if self.tokens.len() >= self.limits.tokens_max {
            let max = self.limits.tokens_max;
            return Err(DecodeError::Tokens { max });
        }
        self.tokens.push(TokenSpan {
            start: offset(start),
            end: offset(end),
            size: 1,
        });
        Ok(self.tokens.len() - 1)
    }

    fn integer_end(&self, at: usize) -> Result<usize, DecodeError> {
        let after = &self.bytes[at + 1..];
        let sign = usize::from(after.first() == Some(&b'-'));
        let digits = digit_count(&after[sign..]);
        let end = at + 1 + sign + digits;
        match self.bytes.get(end) {
            None => Err(DecodeError::Truncated { at }),
            Some(b'e') if well_formed(&after[sign..][..digits], sign == 1) => Ok(end + 1),
            Some(_) => Err(DecodeError::Number { at }),
        }
    }

    fn string_end(&self, at: usize) -> Result<usize, DecodeError> {
        let after = &self.bytes[at..];
        let count = digit_count(after);
        match after.get(count) {
            None => return Err(DecodeError::Truncated { at }),
            Some(b':') if well_formed(&after[..count], false) => {}
            Some(_) => return Err(DecodeError::Number { at }),
        }
        let body = at + count + 1;
        let left = self.bytes.len() - body;
        let len = std::str::from_utf8(&after[..count])
            .ok()
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|len| *len <= left)
            .ok_or(DecodeError::StringLength { at, left })?;
        Ok(body + len)
    }
}

fn digit_count(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count()
}

fn well_formed(digits: &[u8], negative: bool) -> bool {
    match digits {
        [] => false,
        [b'0'] => !negative,
        [first, ..] => *first != b'0',
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("decode_prefix bounds the input to 4 GiB")
}

fn index(at: u32) -> usize {
    usize::try_from(at).expect("usize is at least 32 bits wide")
}

/// A value to encode. Made by us alone, so its depth needs no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An integer.
    Int(i128),
    /// A string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Self>),
    /// A dictionary; written in the order of its keys, as BEP 3 wants it.
    Dict(Dict),
    /// Bytes that are bencoded already, written as they are.
    Raw(Vec<u8>),
}

/// A dictionary to encode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dict(BTreeMap<Vec<u8>, Value>);

impl Dict {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more entry; a key that is there already gets the new value.
    #[must_use]
    pub fn with(mut self, key: impl AsRef<[u8]>, value: impl Into<Value>) -> Self {
        self.0.insert(key.as_ref().to_vec(), value.into());
        self
    }

    /// With one more entry if there is a value.
    #[must_use]
    pub fn with_some(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.append_to(&mut out);
        out
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        out.push(b'd');
        for (key, value) in &self.0 {
            append_bytes(key, out);
            value.append_to(out);
        }
        out.push(b'e');
    }
}

impl Value {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.append_to(&mut out);
        out
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
            Self::Bytes(bytes) => append_bytes(bytes, out),
            Self::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.append_to(out));
                out.push(b'e');
            }
            Self::Dict(dict) => dict.append_to(out),
            Self::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }
}

fn append_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

macro_rules! value_from_int {
    ($($int:ty),*) => {
        $(impl From<$int> for Value {
            fn from(number: $int) -> Self {
                Self::Int(i128::from(number))
            }
        })*
    };
}
value_from_int!(u8, u16, u32, u64, i64);

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<Dict> for Value {
    fn from(dict: Dict) -> Self {
        Self::Dict(dict)
    }
}

impl From<Vec<Self>> for Value {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}

#[cfg(test)]
mod tests;
