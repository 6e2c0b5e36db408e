//! Extended handshakes, and under which id `Sb_receipt` messages may be sent to their sender.

use serde_json::{Value, json};

pub(super) fn made() -> Value {
    let offers: [(&str, &[u8], Option<u8>); 12] = [
        (
            "offered under id 2",
            b"d10:Sb_receiptd1:vi1ee1:md10:Sb_receipti2eee",
            Some(2),
        ),
        (
            "beside other extensions, under an id of its own",
            b"d10:Sb_receiptd1:vi1ee1:md10:Sb_receipti255e11:ut_metadatai1ee4:reqqi500ee",
            Some(255),
        ),
        (
            "with keys that version 1 does not know",
            b"d10:Sb_receiptd1:vi1e1:xi9ee1:md10:Sb_receipti2eee",
            Some(2),
        ),
        (
            "keys in another order, and bytes behind the dictionary",
            b"d1:md10:Sb_receipti2ee10:Sb_receiptd1:vi1eeeXYZ",
            Some(2),
        ),
        ("nothing", b"de", None),
        ("without the dictionary", b"d1:md10:Sb_receipti2eee", None),
        ("without an id", b"d10:Sb_receiptd1:vi1ee1:mdee", None),
        (
            "id 0 switches it off",
            b"d10:Sb_receiptd1:vi1ee1:md10:Sb_receipti0eee",
            None,
        ),
        (
            "an id past a byte",
            b"d10:Sb_receiptd1:vi1ee1:md10:Sb_receipti256eee",
            None,
        ),
        (
            "without a version",
            b"d10:Sb_receiptde1:md10:Sb_receipti2eee",
            None,
        ),
        (
            "another version",
            b"d10:Sb_receiptd1:vi2ee1:md10:Sb_receipti2eee",
            None,
        ),
        (
            "a version that is a string",
            b"d10:Sb_receiptd1:v1:1e1:md10:Sb_receipti2eee",
            None,
        ),
    ];
    let vectors = offers.map(
        |(name, bytes, id)| json!({ "name": name, "bytes": hex::encode(bytes), "send_under": id }),
    );
    json!({ "vectors": vectors })
}
