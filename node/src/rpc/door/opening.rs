//! Whether a connection has asked for something: the first HEADERS frame is here (RFC 9113 §3.4,
//! §4.1), or under TLS (RFC 8446 §5.1) as many bytes as one takes. What they say is the server's
//! business.

/// Bytes before the first frame.
const PREFACE_LEN: usize = 24;
const FRAME_HEADER_LEN: usize = 9;
/// The type of a frame that begins a request.
const HEADERS: u8 = 1;

/// The first byte of a connection over TLS: a handshake record.
const TLS_HANDSHAKE: u8 = 22;
const TLS_HEADER_LEN: usize = 5;
/// The type of a record that carries what is encrypted.
const TLS_DATA: u8 = 23;
/// Bytes in such records that are more than the end of a handshake, a preface and settings.
const TLS_DATA_LEN_MIN: usize = 256;

/// Watches a connection over TLS begin.
#[derive(Debug, Default)]
struct TlsRecords {
    header: [u8; TLS_HEADER_LEN],
    header_len: usize,
    skip: usize,
    data_len: usize,
}

impl TlsRecords {
    fn saw(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = &bytes[passed..];
            if self.header[0] == TLS_DATA {
                self.data_len = self.data_len.saturating_add(passed);
            }
            if self.data_len >= TLS_DATA_LEN_MIN {
                return true;
            }
            let Some((byte, rest)) = bytes.split_first() else {
                return false;
            };
            bytes = rest;
            self.header[self.header_len] = *byte;
            self.header_len += 1;
            if self.header_len == TLS_HEADER_LEN {
                let [.., a, b] = self.header;
                self.skip = usize::from(u16::from_be_bytes([a, b]));
                self.header_len = 0;
            }
        }
    }
}

/// Watches a connection begin.
#[derive(Debug)]
pub(super) struct FirstRequest {
    /// Bytes to pass over: the preface, or the rest of a frame.
    skip: usize,
    header: [u8; FRAME_HEADER_LEN],
    header_len: usize,
    /// The frame that is passed over begins a request.
    is_request: bool,
    /// Whether anything came, and what if it is TLS.
    has_begun: bool,
    tls: Option<TlsRecords>,
}

impl FirstRequest {
    /// Nothing has come.
    pub(super) fn new() -> Self {
        Self {
            skip: PREFACE_LEN,
            header: [0; FRAME_HEADER_LEN],
            header_len: 0,
            is_request: false,
            has_begun: false,
            tls: None,
        }
    }

    /// Takes note of what came. Whether the first request is here, whole.
    pub(super) fn saw(&mut self, mut bytes: &[u8]) -> bool {
        if !self.has_begun && bytes.first() == Some(&TLS_HANDSHAKE) {
            self.tls = Some(TlsRecords::default());
        }
        self.has_begun |= !bytes.is_empty();
        if let Some(tls) = &mut self.tls {
            return tls.saw(bytes);
        }
        loop {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = &bytes[passed..];
            if self.skip > 0 {
                return false;
            }
            if self.is_request {
                return true;
            }
            let Some((byte, rest)) = bytes.split_first() else {
                return false;
            };
            bytes = rest;
            self.header[self.header_len] = *byte;
            self.header_len += 1;
            if self.header_len == FRAME_HEADER_LEN {
                let [a, b, c, kind, ..] = self.header;
                let len = u32::from_be_bytes([0, a, b, c]);
                self.skip = usize::try_from(len).expect("24 bits");
                self.is_request = kind == HEADERS;
                self.header_len = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A preface, and frames of these types and lengths.
    pub(super) fn bytes(frames: &[(u8, u8)]) -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, len) in frames {
            bytes.extend([0, 0, *len, *kind, 0, 0, 0, 0, 0]);
            bytes.extend(vec![HEADERS; usize::from(*len)]);
        }
        bytes
    }

    #[test]
    fn under_tls_a_connection_is_open_with_as_many_bytes_as_a_request_takes() {
        let record = |kind: u8, len: u8| {
            let mut bytes = vec![kind, 3, 3, 0, len];
            bytes.extend(vec![TLS_DATA; usize::from(len)]);
            bytes
        };
        let hello = [
            record(TLS_HANDSHAKE, 250),
            record(20, 1),
            record(TLS_DATA, 69),
        ]
        .concat();
        assert!(!FirstRequest::new().saw(&hello));
        let whole = [hello, record(TLS_DATA, 100), record(TLS_DATA, 100)].concat();
        assert!(FirstRequest::new().saw(&whole));
        let mut slow = FirstRequest::new();
        let opens = whole.iter().map(|byte| slow.saw(&[*byte]));
        assert_eq!(opens.filter(|open| *open).count(), 14);
    }

    #[test]
    fn a_connection_is_open_with_its_first_whole_request_however_it_is_cut() {
        let settings_and_pings = bytes(&[(4, 18), (6, 8), (6, 8)]);
        assert!(!FirstRequest::new().saw(&settings_and_pings));
        let whole = bytes(&[(4, 0), (6, 8), (HEADERS, 30)]);
        assert!(FirstRequest::new().saw(&whole));
        assert!(!FirstRequest::new().saw(&whole[..whole.len() - 1]));
        let mut opening = FirstRequest::new();
        let seen: Vec<bool> = whole.iter().map(|byte| opening.saw(&[*byte])).collect();
        let before = seen.iter().filter(|seen| !**seen).count();
        assert_eq!(before, whole.len() - 1, "with the last byte only");
        assert!(FirstRequest::new().saw(&bytes(&[(HEADERS, 0)])));
    }
}
