//! Every message as `ProtoJSON`: names as in the contract, 64-bit integers as strings, zeros shown.

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

/// A message as one JSON document. Field names are API.
pub fn to_value<M: prost::Message + prost::Name>(message: &M) -> Value {
    let descriptor = pool()
        .get_message_by_name(&M::full_name())
        .expect("every message of the contract is in its descriptor set");
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .expect("a message decodes as itself");
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(true)
        .use_proto_field_name(true)
        .skip_default_fields(false);
    dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("a value in memory can be written")
}

fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(seedbank_proto::FILE_DESCRIPTOR_SET)
            .expect("the build wrote a valid descriptor set")
    })
}

#[cfg(test)]
mod tests {
    use seedbank_proto::v1;
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_those_of_the_contract_and_wide_integers_are_strings() {
        let payee = v1::Payee {
            public_key: "aa".into(),
            lock_id: "7".into(),
            amount_microcredits: 9_007_199_254_740_993,
            signed_microcredits: 0,
            return_time: Some(prost_types::Timestamp {
                seconds: 1_700_000_000,
                nanos: 0,
            }),
        };
        assert_eq!(
            to_value(&payee),
            json!({
                "public_key": "aa",
                "lock_id": "7",
                "amount_microcredits": "9007199254740993",
                "signed_microcredits": "0",
                "return_time": "2023-11-14T22:13:20Z",
            })
        );
    }

    #[test]
    fn enums_are_names() {
        let torrent = v1::Torrent {
            state: v1::TorrentState::Seeding.into(),
            ..v1::Torrent::default()
        };
        assert_eq!(to_value(&torrent)["state"], "TORRENT_STATE_SEEDING");
    }
}
