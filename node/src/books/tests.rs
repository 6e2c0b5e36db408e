//! Tests of `books.rs`: when the tally's rows survive a loss of power.

use std::sync::mpsc::sync_channel;

use seedbank_ledger::Bytes;

use super::*;

const OWNER: NodeId = NodeId::from_bytes([1; 32]);

fn books() -> (Memory, SharedBooks) {
    let store = Memory::new();
    store.remember_unsynced();
    let (inbox, _) = Inbox::new();
    let books = SharedBooks::open(Arc::new(store.clone()), OWNER, None, inbox).unwrap();
    (store, books)
}

fn boost(id: u64) -> TallyRow {
    let bytes = Some(vec![1]);
    TallyRow::Boost { id, bytes }
}

/// The rows that are there after the power was cut now.
fn survive(store: &Memory) -> Vec<TallyRow> {
    Tally::new(store.power_cut(0)).load().unwrap()
}

/// An entry for ourselves is refused and leaves nothing; one for another is entered.
fn write_off(peer: u8) -> NodeCommand {
    NodeCommand::WriteOff {
        peer: NodeId::from_bytes([peer; 32]),
        bytes: Bytes::new(1),
    }
}

/// Whatever is appended meanwhile, with entries or without: a row that was written survives once
/// the time is over, and so does the next.
#[tokio::test]
async fn l6_what_is_appended_puts_off_no_sync_of_the_tally() {
    for peer in [1, 2] {
        let (store, books) = books();
        let mut now = Instant::now();
        let mut synced_at = now;
        for id in 0..3 {
            books.write(&[boost(id)]).unwrap();
            for _ in 0..9 {
                books.append(&[write_off(peer)]).unwrap();
                now += SYNC_EVERY / 10;
                synced_at = books.sync_by(synced_at, now).unwrap();
            }
            now += SYNC_EVERY / 10;
            synced_at = books.sync_by(synced_at, now).unwrap();
            let kept: Vec<TallyRow> = (0..=id).map(boost).collect();
            assert_eq!(survive(&store), kept);
        }
    }
}

/// A row that is written behind an append's fsync is not covered by it.
#[tokio::test]
async fn l6_a_row_behind_an_entry_is_synced_by_itself() {
    let (store, books) = books();
    books.write(&[boost(1)]).unwrap();
    books.append(&[write_off(2)]).unwrap();
    books.write(&[boost(2)]).unwrap();
    assert_eq!(survive(&store), [boost(1)]);
    let now = Instant::now();
    books.sync_by(now, now + SYNC_EVERY).unwrap();
    assert_eq!(survive(&store), [boost(1), boost(2)]);
}

/// However many questions wait: the thread comes back to look at the time after each of them.
#[tokio::test]
async fn l6_questions_without_end_put_off_no_sync() {
    let (_, books) = books();
    let (sender, queue) = sync_channel(QUEUE_MAX);
    let mut told = Vec::new();
    for _ in 0..5 {
        let (reply, answer) = oneshot::channel();
        sender
            .send(BooksJob::Append(Box::new(write_off(2))))
            .unwrap();
        sender.send(BooksJob::Tell(reply)).unwrap();
        told.push(answer);
    }
    let heads = told.into_iter().map(|mut answer| {
        assert!(answer.try_recv().is_err(), "not asked yet");
        books.carry_out(queue.recv().unwrap(), &queue).unwrap();
        let (_, head) = answer.try_recv().unwrap().unwrap();
        head.next.get()
    });
    // What was queued before a question is in its answer, and nothing behind it.
    assert_eq!(heads.collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
}
