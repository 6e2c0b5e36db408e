//! Time is tokio's and passes only while everybody waits, so that rates are exact.

use tokio::io::duplex;
use tokio::task::yield_now;

use super::*;

const PLAN: ModemPlan = ModemPlan {
    rate: 4 << 20,
    buffer: Duration::from_millis(100),
};
/// What stands in a full buffer.
const HELD: usize = 419_430;
const MIB: usize = 1 << 20;

/// A sender that never runs dry, over a line of its own or one that others use too; what it
/// received is counted.
fn carried(line: &Arc<SharedLine>, tasks: &mut JoinSet<()>) -> watch::Receiver<usize> {
    let (mut seeder, from) = duplex(32 << 10);
    let (to, mut leecher) = duplex(32 << 10);
    let (count, received) = watch::channel(0);
    let line = Arc::clone(line);
    tasks.spawn(async move { drop(pass(&line, from, to).await) });
    tasks.spawn(async move { while seeder.write_all(&[7; CHUNK]).await.is_ok() {} });
    tasks.spawn(async move {
        let mut chunk = [0; CHUNK];
        while let Ok(len) = leecher.read(&mut chunk).await {
            count.send_modify(|count| *count += len);
        }
    });
    received
}

#[tokio::test(start_paused = true)]
async fn connections_share_the_rate_in_turn() {
    let line = Arc::new(SharedLine::new(PLAN));
    let mut tasks = JoinSet::new();
    let counts: Vec<_> = (0..4).map(|_| carried(&line, &mut tasks)).collect();
    sleep(Duration::from_secs(5)).await;
    let received: Vec<usize> = counts.iter().map(|count| *count.borrow()).collect();
    let sum: usize = received.iter().sum();
    // Five seconds, of which the first chunk takes one millisecond to arrive.
    assert!((20 * MIB - 4 * CHUNK..=20 * MIB).contains(&sum), "{sum}");
    // Who came first had the empty buffer to itself.
    for share in received {
        assert!(share.abs_diff(5 * MIB) <= 8 * CHUNK, "{share} of {sum}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_alone_has_the_whole_line_and_what_is_not_used_is_lost() {
    let line = SharedLine::new(PLAN);
    let second = usize::try_from(PLAN.rate).unwrap() / CHUNK;
    for _ in 0..2 {
        let begin = Instant::now();
        let mut leaves = begin;
        for _ in 0..second {
            let before = std::mem::replace(&mut leaves, line.enter(CHUNK).await);
            assert!(before < leaves, "in order");
        }
        let took = leaves - begin;
        assert!(
            took >= Duration::from_secs(1) && took < Duration::from_millis(1_002),
            "{took:?}"
        );
        sleep(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_stands_in_the_buffer_than_it_holds() {
    let line = SharedLine::new(PLAN);
    let begin = Instant::now();
    let mut entered = 0;
    while timeout(Duration::ZERO, line.enter(CHUNK)).await.is_ok() {
        entered += CHUNK;
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert!(entered > HELD - CHUNK && entered <= HELD, "{entered}");
    // Room for one more comes with a chunk's time, and not for two.
    sleep(Duration::from_millis(1)).await;
    assert!(timeout(Duration::ZERO, line.enter(CHUNK)).await.is_ok());
    assert!(timeout(Duration::ZERO, line.enter(CHUNK)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_comes_leaves_in_order_and_an_end_behind_it() {
    let line = SharedLine::new(PLAN);
    let (mut seeder, from) = duplex(MIB);
    let (to, mut leecher) = duplex(MIB);
    let sent: Vec<u8> = (0..=250).cycle().take(300_001).collect();
    seeder.write_all(&sent).await.unwrap();
    drop(seeder);
    let mut received = Vec::new();
    let begin = Instant::now();
    let (passed, read) = tokio::join!(pass(&line, from, to), leecher.read_to_end(&mut received));
    passed.unwrap();
    assert_eq!(read.unwrap(), sent.len());
    assert!(received == sent, "the same bytes");
    let took = begin.elapsed();
    assert!(took >= time_of(sent.len(), PLAN.rate), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leecher_that_does_not_read_keeps_little_and_holds_up_nobody() {
    let line = Arc::new(SharedLine::new(PLAN));
    let mut tasks = JoinSet::new();
    let (mut seeder, from) = duplex(CHUNK);
    let (to, leecher) = duplex(CHUNK);
    let stalled = Arc::clone(&line);
    tasks.spawn(async move { drop(pass(&stalled, from, to).await) });
    let (count, taken) = watch::channel(0);
    tasks.spawn(async move {
        while seeder.write_all(&[7; CHUNK]).await.is_ok() {
            count.send_modify(|count| *count += CHUNK);
        }
    });
    let other = carried(&line, &mut tasks);
    sleep(Duration::from_secs(5)).await;
    let before = *other.borrow();
    sleep(Duration::from_secs(5)).await;
    // One chunk in each pipe, and one between waiting for the line and for the leecher.
    assert!(*taken.borrow() <= (CHUNKS_MAX + 4) * CHUNK, "{taken:?}");
    let alone = *other.borrow() - before;
    assert!(alone.abs_diff(20 * MIB) <= 2 * CHUNK, "{alone}");
    drop(leecher);
    yield_now().await;
}

#[tokio::test]
async fn both_sides_close_one_after_the_other_and_then_nothing_is_open() {
    let seeder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let modem = DemoModem::start(seeder.local_addr().unwrap(), PLAN);
    let modem = modem.await.unwrap();
    let mut leecher = TcpStream::connect(modem.addr()).await.unwrap();
    let (mut served, _) = seeder.accept().await.unwrap();
    assert_eq!(
        *modem
            .open
            .clone()
            .wait_for(|open| *open == 1)
            .await
            .unwrap(),
        1
    );

    // The leecher has nothing more to say, and still hears the answer.
    leecher.write_all(b"ask").await.unwrap();
    leecher.shutdown().await.unwrap();
    let mut heard = Vec::new();
    served.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"ask");
    served.write_all(b"answer").await.unwrap();
    drop(served);
    heard.clear();
    leecher.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"answer");
    modem.idle(Duration::from_secs(60)).await;
    assert_eq!(*modem.open.borrow(), 0);

    // A seeder that is gone: the leecher hears of it at once.
    drop(seeder);
    let mut leecher = TcpStream::connect(modem.addr()).await.unwrap();
    let gone = leecher.read_to_end(&mut heard).await;
    assert!(!matches!(gone, Ok(len) if len > 0));
}
