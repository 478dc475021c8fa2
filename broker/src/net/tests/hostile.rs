//! Peers that send slowly, do not read, or find a bug.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream_env::Clock;
use millstream_model::Instant;

use super::*;

/// A little more than a deadline, and less than a broker that was held up wakes up late.
const MORE: Duration = Duration::from_millis(500);

/// Whether the connection is closed, once everything for it is read.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut taken = vec![0; MIB];
    loop {
        match timeout(QUIET, stream.read(&mut taken)).await {
            Err(_still_open) => return false,
            Ok(Ok(0)) => return true,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                return true;
            }
        }
    }
}

#[tokio::test]
async fn a_byte_now_and_then_does_not_keep_a_frame_alive() {
    let server = Server::start(MIB).await;
    let bytes = request(1, 10);
    let mut slow = server.connect().await;
    slow.write_all(&bytes[..10]).await.unwrap();
    assert!(!is_closed(&mut slow).await);
    for second in 1..=9 {
        server.clock.advance(Duration::from_secs(1));
        slow.write_all(&bytes[10 + second..11 + second])
            .await
            .unwrap();
    }
    assert!(!is_closed(&mut slow).await);
    server.clock.advance(Duration::from_secs(1) + MORE);
    slow.write_all(&bytes[20..21]).await.unwrap();
    assert!(is_closed(&mut slow).await);
}

#[tokio::test]
async fn a_long_frame_has_a_second_more_for_each_mebibyte() {
    let server = Server::start(MIB).await;
    let mut slow = server.connect().await;
    slow.write_all(&(MIB as u32).to_be_bytes()).await.unwrap();
    assert!(!is_closed(&mut slow).await);
    server.clock.advance(Duration::from_secs(10) + MORE);
    slow.write_all(&[0]).await.unwrap();
    assert!(!is_closed(&mut slow).await);
    server.clock.advance(Duration::from_millis(900));
    slow.write_all(&[0]).await.unwrap();
    assert!(is_closed(&mut slow).await);
}

#[tokio::test]
async fn a_broker_that_was_held_up_does_not_blame_its_peers() {
    let server = Server::start(MIB).await;
    let bytes = request(1, 10);
    let mut client = server.connect().await;
    client.write_all(&bytes[..10]).await.unwrap();
    assert!(!is_closed(&mut client).await);
    server.clock.advance(Duration::from_secs(30));
    client.write_all(&bytes[10..11]).await.unwrap();
    assert!(!is_closed(&mut client).await);
    client.write_all(&bytes[11..]).await.unwrap();
    assert_eq!(answer(&mut client).await.unwrap(), 7);
}

/// Asks for answers of a mebibyte and a half each, more than any socket holds, and reads none.
async fn ask_and_not_read(server: &Server) -> TcpStream {
    let mut stream = server.connect().await;
    let bytes = request(6, 32_000).repeat(1);
    let _ = timeout(MORE, stream.write_all(&bytes.repeat(200))).await;
    stream
}

#[tokio::test(start_paused = true)]
async fn who_never_reads_is_closed_after_a_minute() {
    let server = Server::start(MIB).await;
    let mut client = ask_and_not_read(&server).await;
    let answers = &server.node.broker.answers;
    assert!(answers.held() > 0, "{}", answers.held());
    assert!(answers.held() < 4 * MIB, "{}", answers.held());
    // Tokio's clock goes on by itself, the broker's when it is told to.
    let ten_seconds = Duration::from_secs(10);
    for _ in 0..5 {
        tokio::time::sleep(ten_seconds).await;
        server.clock.advance(ten_seconds);
    }
    tokio::time::sleep(ten_seconds).await;
    assert!(answers.held() > 0);
    server.clock.advance(ten_seconds);
    tokio::time::sleep(ten_seconds + MORE).await;
    assert_eq!(answers.held(), 0);
    tokio::time::resume();
    assert!(is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_never_reads_is_bounded_and_closed_sooner() {
    let clock = Arc::new(SimClock::new(WallTime(1_700_000_000_000)));
    let config = NodeConfig {
        answer_bytes_max: 4 * MIB,
        ..node_config()
    };
    let seen = Arc::clone(&clock) as _;
    let server = Server::start_on(clock, seen, MIB, config).await;
    let answers = &server.node.broker.answers;
    let mut crowd = Vec::new();
    for _ in 0..30 {
        crowd.push(ask_and_not_read(&server).await);
        assert!(answers.held() <= 8 * MIB, "{}", answers.held());
    }
    assert_eq!(answers.room(), 0);
    // Small answers pass all the time.
    let mut small = server.connect().await;
    small.write_all(&request(1, 10)).await.unwrap();
    assert_eq!(answer(&mut small).await.unwrap(), 7);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        server.clock.advance(Duration::from_secs(10));
    }
    tokio::time::sleep(Duration::from_secs(10) + MORE).await;
    assert_eq!(answers.held(), 0);
    tokio::time::resume();
    for client in &mut crowd {
        assert!(is_closed(client).await);
    }
}

/// A clock of which the next request that is handled finds that it is broken.
struct BrokenClock {
    clock: Arc<SimClock>,
    is_broken: AtomicBool,
}

impl Clock for BrokenClock {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wall_time(&self) -> WallTime {
        let is_broken = self.is_broken.swap(false, Ordering::SeqCst);
        assert!(!is_broken, "planted");
        self.clock.wall_time()
    }
}

#[tokio::test]
async fn o6_a_panic_costs_one_connection_a_thousand_times() {
    let clock = Arc::new(SimClock::new(WallTime(1_700_000_000_000)));
    let broken = Arc::new(BrokenClock {
        clock: Arc::clone(&clock),
        is_broken: AtomicBool::new(false),
    });
    let seen = Arc::clone(&broken) as _;
    let server = Server::start_on(clock, seen, MIB, node_config()).await;
    let mut old = server.connect().await;
    for number in 1..=1000 {
        let mut poor = server.connect().await;
        broken.is_broken.store(true, Ordering::SeqCst);
        poor.write_all(&request(1, 10)).await.unwrap();
        assert!(answer(&mut poor).await.is_err());
        assert_eq!(server.shell.panics.load(Ordering::Relaxed), number);
    }
    old.write_all(&request(1, 10)).await.unwrap();
    assert_eq!(answer(&mut old).await.unwrap(), 7);
    assert_eq!(server.shell.inboxes.count(), 1, "nothing is left behind");
}
