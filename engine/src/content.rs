//! What a torrent is: the format of its description, and which of its pieces are there.
//!
//! Nothing here knows a peer. A second version of the format (BEP 52) goes beside
//! [`metainfo`]; who fetches content is the business of [`transfer`](crate::transfer).

pub mod bencode;
pub mod bitfield;
pub(crate) mod files;
pub mod magnet;
pub mod metainfo;
