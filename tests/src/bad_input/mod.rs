//! Bad input on the wire, and what it gets: one line for each case. The same bytes are sent to any broker;
//! what Apache Kafka 4.3.1 did is kept in `tests/conformance/answers/bad_input.txt`, and where we are
//! stricter that file says so with the reason. `tests/BAD_INPUT.md` is the list of what can be sent.

mod frames;
mod records;
mod requests;
mod wire;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use millstream_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};

/// A broker that has said nothing for so long, says nothing.
const SILENCE: Duration = Duration::from_secs(2);
/// Longer than any answer that is expected.
const ANSWER_MAX: usize = 8 << 20;
/// Kafka answers "unknown", "no coordinator" and the like for a moment after it has created something.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// What is sent, and how the last answer is told.
struct Case {
    name: &'static str,
    /// Sent one after another, each once the one before is answered.
    sent: Vec<Vec<u8>>,
    tell: Tell,
}

/// How an answer is told: without what differs from run to run. `None`: the broker is not ready yet.
type Tell = Box<dyn Fn(&Bytes) -> Option<String>>;

/// What the broker on this port of this machine does.
pub fn of_broker(port: u16) -> Result<String, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_err(|error| error.to_string())?.as_millis() as i64;
    let topic = format!("bad-input-{now}");
    let created = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.clone().into(),
            num_partitions: 2,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        timeout_ms: 10_000,
        ..CreateTopicsRequest::default()
    };
    let created = wire::good(5, &created);
    let answered = ask(port, &[created]).map_err(|error| error.to_string())?;
    if !matches!(answered, Heard::Answer(_)) {
        return Err("no topic can be created".to_owned());
    }
    wait_for_topic(port, &topic, now)?;
    let mut text = String::new();
    let cases = frames::cases()
        .into_iter()
        .chain(records::cases(&topic, now))
        .chain(requests::cases(&topic));
    for case in cases {
        let told = tell(port, &case).map_err(|error| format!("{}: {error}", case.name))?;
        text += &format!("{}: {told}\n", case.name);
    }
    Ok(text)
}

fn wait_for_topic(port: u16, topic: &str, now: i64) -> Result<(), String> {
    let case = records::plain(topic, now);
    let told = tell(port, &case).map_err(|error| error.to_string())?;
    match told.starts_with("offset 0") {
        true => Ok(()),
        false => Err(format!("a good batch: {told}")),
    }
}

fn tell(port: u16, case: &Case) -> io::Result<String> {
    for _ in 0..TRIES {
        match ask(port, &case.sent)? {
            Heard::Answer(answer) => match (case.tell)(&answer) {
                Some(told) => return Ok(told),
                None => std::thread::sleep(PAUSE),
            },
            Heard::Closed => return Ok("closed".to_owned()),
            Heard::Nothing => return Ok("waits for more".to_owned()),
        }
    }
    Err(io::Error::other("the broker does not get ready"))
}

/// What a broker does.
enum Heard {
    /// It answers, without the length before the answer.
    Answer(Bytes),
    Closed,
    Nothing,
}

/// Sends each once the one before is answered. Of the answers the last one counts.
fn ask(port: u16, sent: &[Vec<u8>]) -> io::Result<Heard> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut heard = Heard::Nothing;
    for bytes in sent {
        // A broker that has closed already is heard below.
        let _ = stream.write_all(bytes);
        heard = hear(&mut stream)?;
    }
    let _ = stream.shutdown(Shutdown::Both);
    Ok(heard)
}

fn hear(stream: &mut TcpStream) -> io::Result<Heard> {
    let mut length = [0; 4];
    if let Err(error) = stream.read_exact(&mut length) {
        return match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Heard::Nothing),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                Ok(Heard::Closed)
            }
            _ => Err(error),
        };
    }
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > ANSWER_MAX {
        return Err(io::Error::other(format!("an answer of {length} bytes")));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(Heard::Answer(Bytes::from(answer)))
}
