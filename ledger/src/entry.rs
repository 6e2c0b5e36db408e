//! A line of the ledger. (The layout follows; its hash is its identity.)

use crate::identity::hex_array;

hex_array! {
    /// BLAKE3 of an entry's bytes: its identity, and the link of the chain.
    EntryHash, 32
}
