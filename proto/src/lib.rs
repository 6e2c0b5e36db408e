//! The gRPC contracts `seedbank.v1`, the owner's, and `seedbank.settlement.v1`, everybody's, as
//! Rust types, and the errors they promise.
//!
//! Messages, clients and servers are generated from `proto/seedbank`; `failure.rs` packs and
//! unpacks the one `ErrorInfo` that every error carries. Nothing here decides anything.

pub mod failure;

pub use failure::{Failure, code_of};

/// Messages, clients and servers of `seedbank.v1`.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::disallowed_types,
    clippy::doc_markdown,
    clippy::match_wildcard_for_single_variants,
    clippy::semicolon_if_nothing_returned,
    clippy::too_many_lines,
    clippy::unused_async,
    clippy::use_self,
    clippy::wildcard_imports,
    missing_debug_implementations,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("seedbank.v1");
}

/// Messages, client and server of `seedbank.settlement.v1`, which strangers speak.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::disallowed_types,
    clippy::doc_markdown,
    clippy::match_wildcard_for_single_variants,
    clippy::semicolon_if_nothing_returned,
    clippy::too_many_lines,
    clippy::unused_async,
    clippy::use_self,
    clippy::wildcard_imports,
    missing_debug_implementations,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]
pub mod settlement_v1 {
    tonic::include_proto!("seedbank.settlement.v1");
}

/// The contract itself, an encoded `google.protobuf.FileDescriptorSet`: for reflection and JSON.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/seedbank.v1.bin"));
