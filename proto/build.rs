//! Compiles the contract with protox: nobody needs protoc.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 10] = [
    "seedbank/settlement/v1/settlement_service.proto",
    "seedbank/v1/boost_service.proto",
    "seedbank/v1/error_reason.proto",
    "seedbank/v1/network_service.proto",
    "seedbank/v1/node_service.proto",
    "seedbank/v1/peer.proto",
    "seedbank/v1/policy_service.proto",
    "seedbank/v1/refusal.proto",
    "seedbank/v1/torrent_service.proto",
    "seedbank/v1/wallet_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("seedbank.v1.bin"), descriptors.encode_to_vec())?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}
