//! Fixed-layout little-endian byte strings: the only encoding of anything signed or stored.
//!
//! A writer that cannot fail and a reader that fails once, at the first short read, wrong value or
//! trailing byte. Parsing what was written is the identity; the property tests beside each object
//! hold that.

/// Why a byte string is not the object it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Fewer bytes than the layout needs.
    #[error("needs {needed} more bytes, has {left}")]
    Short {
        /// Bytes the next field needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// Bytes after the last field.
    #[error("{0} bytes after the last field")]
    Trailing(usize),
    /// A field holds a value outside its range.
    #[error("{field} cannot be {value}")]
    Value {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A list or string is longer than its bound.
    #[error("{field} is {len} long, at most {max}")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// Length found.
        len: usize,
        /// Longest allowed.
        max: usize,
    },
}

/// Appends fields to a byte string.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty byte string.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends raw bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    /// Appends a little-endian u16.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a little-endian u32.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a little-endian u64.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a little-endian u128.
    #[must_use]
    pub fn u128(self, value: u128) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends 1 for `true` and 0 for `false`.
    #[must_use]
    pub fn flag(self, value: bool) -> Self {
        self.u8(u8::from(value))
    }

    /// Appends a flag, and the bytes if there are any.
    #[must_use]
    pub fn optional(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.flag(true).bytes(bytes),
            None => self.flag(false),
        }
    }

    /// Appends a u16 length and the bytes.
    ///
    /// # Panics
    /// If `bytes` is longer than 65,535; callers hold bounded objects.
    #[must_use]
    pub fn sized(self, bytes: &[u8]) -> Self {
        let len = u16::try_from(bytes.len()).expect("bounded objects fit a u16 length");
        self.u16(len).bytes(bytes)
    }

    /// The finished byte string.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes fields off a byte string, front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], LayoutError> {
        match self.0.split_at_checked(len) {
            Some((head, tail)) => {
                self.0 = tail;
                Ok(head)
            }
            None => Err(LayoutError::Short {
                needed: len,
                left: self.0.len(),
            }),
        }
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], LayoutError> {
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("bytes(N) returns N bytes"))
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, LayoutError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next little-endian u16.
    pub fn u16(&mut self) -> Result<u16, LayoutError> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next little-endian u32.
    pub fn u32(&mut self) -> Result<u32, LayoutError> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next little-endian u64.
    pub fn u64(&mut self) -> Result<u64, LayoutError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next little-endian u128.
    pub fn u128(&mut self) -> Result<u128, LayoutError> {
        self.array().map(u128::from_le_bytes)
    }

    /// 0 or 1; `field` names it if it is neither.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, LayoutError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(LayoutError::Value {
                field,
                value: value.into(),
            }),
        }
    }

    /// A flag, and what `read` takes if it is set.
    pub fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, LayoutError>,
    ) -> Result<Option<T>, LayoutError> {
        if self.flag(field)? {
            read(self).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A u16 length and that many bytes, at most `max`.
    pub fn sized(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], LayoutError> {
        let len = usize::from(self.u16()?);
        if len > max {
            return Err(LayoutError::TooLong { field, len, max });
        }
        self.bytes(len)
    }

    /// Succeeds if nothing is left.
    pub fn end(self) -> Result<(), LayoutError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(LayoutError::Trailing(self.0.len()))
        }
    }
}
