//! Our side of the codec proof: answers questions about the codec on standard input, until it ends.
//!
//! `codec-peer SCHEMA_FOLDER`. The other side is the Java program in `tests/conformance/codec`, which
//! decides. All numbers are big-endian, text is an int16 length and UTF-8.
//!
//! ```text
//!   question  length i32 │ kind u8 │ name │ version i16 │ other i16 │ seed i64 │ count i32 │ count × (length i32, bytes)
//!   answer    length i32 │ count i32 │ count × (status u8, length i32, bytes)
//! ```
//!
//! A status of 1 is a refusal, and its bytes say why.

mod batches;
#[path = "../../../../protocol/tests/generator/mod.rs"]
mod generator;
mod question;

use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use bytes::Bytes;
use millstream_protocol::dynamic;

use generator::random::Random;
use generator::schema::{self, Message};
use question::{Answer, Item, Question};

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args().nth(1) else {
        return Err(io::Error::other("usage: codec-peer SCHEMA_FOLDER"));
    };
    let schemas = schema::read_all(Path::new(&folder))?;
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = BufWriter::new(io::stdout().lock());
    while let Some(length) = next_length(&mut input)? {
        let mut frame = vec![0; length];
        input.read_exact(&mut frame)?;
        let question = Question::read(&Bytes::from(frame)).ok_or_else(bad_question)?;
        let answer = answer(&question, &schemas).ok_or_else(bad_question)?;
        output.write_all(&answer.into_frame())?;
        output.flush()?;
    }
    Ok(())
}

fn bad_question() -> io::Error {
    io::Error::other("a question that this program does not know")
}

fn next_length(input: &mut impl Read) -> io::Result<Option<usize>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Ok(()) => Ok(Some(u32::from_be_bytes(length) as usize)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

fn answer(question: &Question, schemas: &HashMap<String, Message>) -> Option<Answer> {
    let (name, version) = (question.name.as_str(), question.version);
    let bodies = question.bodies.iter();
    Some(match question.kind {
        b'L' => {
            Answer::of(dynamic::all().iter().map(|(name, first, last)| {
                Item::Value(Bytes::from(format!("{name} {first} {last}")))
            }))
        }
        b'R' => Answer::of(bodies.map(|body| transcode(name, version, version, body))),
        b'T' => Answer::of(bodies.map(|body| transcode(name, version, question.other, body))),
        b'S' => Answer::of(bodies.map(|body| describe(name, version, body))),
        b'D' => Answer::of([encode_default(name, version)]),
        b'G' => generate(question, schemas.get(name)?),
        b'B' => Answer::of(bodies.flat_map(batches::listing_and_copy)),
        b'C' => batches::random(question.seed, question.count, version)?,
        _ => return None,
    })
}

fn transcode(name: &str, from: i16, to: i16, body: &Bytes) -> Item {
    match dynamic::transcode(name, from, to, body) {
        None => Item::refusal(format!("no message {name}")),
        Some(Err(error)) => Item::refusal(error),
        Some(Ok(again)) if again.trailing > 0 => {
            Item::refusal(format!("{} bytes were not read", again.trailing))
        }
        Some(Ok(again)) => Item::Value(again.body),
    }
}

fn encode_default(name: &str, version: i16) -> Item {
    match dynamic::encode_default(name, version) {
        None => Item::refusal(format!("no message {name}")),
        Some(Err(error)) => Item::refusal(error),
        Some(Ok(body)) => Item::Value(body),
    }
}

/// The message as text, without what only Rust writes: options, the forms of records, underscores.
/// The strings in it are known to be plain letters.
fn describe(name: &str, version: i16, body: &Bytes) -> Item {
    match dynamic::describe(name, version, body) {
        None => Item::refusal(format!("no message {name}")),
        Some(Err(error)) => Item::refusal(error),
        Some(Ok(text)) => {
            let text = text.replace("Some(", "").replace("Whole(", "");
            let text = text.replace([')', '_'], "").to_lowercase();
            Item::Value(Bytes::from(text))
        }
    }
}

/// Pairs: a random message with unknown tagged fields, and what our codec makes of it. Our codec must
/// give the message without them, byte for byte.
fn generate(question: &Question, message: &Message) -> Answer {
    let (name, version) = (question.name.as_str(), question.version);
    let mut items = Vec::new();
    for index in 0..question.count {
        let seed = question.seed as u64 ^ (index as u64) << 32;
        let plain =
            generator::message::message(message, version, index, &mut Random::new(seed), false);
        let tagged =
            generator::message::message(message, version, index, &mut Random::new(seed), true);
        let tagged = Bytes::from(tagged);
        let ours = match transcode(name, version, version, &tagged) {
            Item::Value(ours) if ours != plain => Item::refusal(format!(
                "{name} version {version}: wrote\n{}\ninstead of\n{}",
                hex(&ours),
                hex(&plain)
            )),
            other => other,
        };
        items.push(Item::Value(tagged));
        items.push(ours);
    }
    Answer::of(items)
}

fn hex(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(2000)];
    shown.iter().map(|byte| format!("{byte:02x}")).collect()
}
