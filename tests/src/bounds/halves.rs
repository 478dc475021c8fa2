//! Requests that never become whole: most are given up by their client, some are kept, and some of these go on
//! by a byte a second.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::crash::Failure;

/// Half a request, which announces 100 bytes.
const HALF: &[u8] = &[0, 0, 0, 100, 0, 18, 0, 3, 0, 0, 0, 1, 0, 4, b'h'];
/// The broker ends a connection whose request is not whole after ten seconds.
const KEPT_MAX: Duration = Duration::from_secs(15);
/// One of so many that are kept goes on by a byte a second.
const SLOW_EACH: usize = 5;

/// Sends `count` halves, of which `kept` stay as long as the broker lets them. Answers how many were sent and how
/// long the last of those stayed.
pub(super) fn send(port: u16, count: usize, kept: usize) -> Result<(usize, Duration), Failure> {
    let kept = kept.min(count / 2);
    let began = Instant::now();
    let mut open = Vec::with_capacity(kept);
    for _ in 0..kept {
        open.push((half(port)?, Instant::now()));
    }
    let (mut next_byte, mut longest) = (Instant::now(), Duration::ZERO);
    for _ in kept..count {
        // Gone without a word, and without a port that is held for it.
        let stream = half(port)?;
        let lingers = set_socket_linger(&stream, Some(Duration::ZERO));
        lingers.map_err(|error| error.to_string())?;
        if Instant::now() >= next_byte {
            next_byte += Duration::from_secs(1);
            go_on(&mut open);
            forget_closed(&mut open, &mut longest);
        }
    }
    println!("     {count} halves sent in {:.1?}", began.elapsed());
    let sent_at = Instant::now();
    loop {
        go_on(&mut open);
        forget_closed(&mut open, &mut longest);
        if open.is_empty() {
            return Ok((count, longest));
        }
        if sent_at.elapsed() > KEPT_MAX {
            return Err(format!("{} half requests are still kept", open.len()));
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn half(port: u16) -> Result<TcpStream, Failure> {
    let connect = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(HALF)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    connect().map_err(|error: std::io::Error| format!("half a request: {error}"))
}

/// A byte more for some. Whoever is closed is found later.
fn go_on(open: &mut [(TcpStream, Instant)]) {
    for (stream, _) in open.iter_mut().step_by(SLOW_EACH) {
        let _ = stream.write(b"a");
    }
}

fn forget_closed(open: &mut Vec<(TcpStream, Instant)>, longest: &mut Duration) {
    open.retain_mut(|(stream, since)| {
        let is_open = is_open(stream);
        if !is_open {
            *longest = since.elapsed().max(*longest);
        }
        is_open
    });
}

fn is_open(stream: &mut TcpStream) -> bool {
    // Half a request is not answered: what is read is the end, or an error.
    let end = stream.read_exact(&mut [0]);
    end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
