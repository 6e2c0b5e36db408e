//! Messages of the receipt protocol, as agents read and write them.

use seedbank_engine::interface::input::{Input, PeerEvent};
use seedbank_engine::interface::output::Output;
use seedbank_engine::units::PeerIndex;
use seedbank_engine::wire::extended::RECEIPT_ID;
use seedbank_engine::wire::message::Message;
use seedbank_engine::wire::receipt::ReceiptMessage;

/// The receipt message in this one, if it is one. Every session of a world takes them under the
/// same id.
pub fn receipt_in(message: &Message) -> Option<ReceiptMessage> {
    match message {
        Message::Extended { id, payload } if *id == RECEIPT_ID => {
            ReceiptMessage::decode(payload).ok()
        }
        _ => None,
    }
}

/// A receipt message as it is sent.
pub fn receipt_to(peer: PeerIndex, message: &ReceiptMessage) -> Output {
    Output::Send {
        peer,
        message: receipt_message(message),
    }
}

pub(super) fn receipt_message(message: &ReceiptMessage) -> Message {
    Message::Extended {
        id: RECEIPT_ID,
        payload: message.encode(),
    }
}

/// The receipt messages that came with this.
pub(super) fn receipts_heard(input: &Input) -> Vec<(PeerIndex, ReceiptMessage)> {
    let Input::Received { peer, events } = input else {
        return Vec::new();
    };
    let messages = events.iter().filter_map(|event| match event {
        PeerEvent::Message(message) => receipt_in(message),
        PeerEvent::Block { .. } => None,
    });
    messages.map(|message| (*peer, message)).collect()
}

/// Who sent payload with this.
pub(super) fn payload_from(input: &Input) -> Option<PeerIndex> {
    let Input::Received { peer, events } = input else {
        return None;
    };
    let is_block = |event: &PeerEvent| matches!(event, PeerEvent::Block { .. });
    events.iter().any(is_block).then_some(*peer)
}

/// Whether this gives anything, or promises to.
pub(super) fn gives(output: &Output) -> bool {
    match output {
        Output::Serve { .. } => true,
        Output::Send { message, .. } => {
            matches!(message, Message::Unchoke | Message::AllowedFast(_))
        }
        _ => false,
    }
}

/// Whether this is a receipt that is worth credit.
pub(super) fn pays(output: &Output) -> bool {
    let Output::Send { message, .. } = output else {
        return false;
    };
    matches!(
        receipt_in(message),
        Some(ReceiptMessage::Receipt(receipt)) if !receipt.body.amount.is_zero()
    )
}
