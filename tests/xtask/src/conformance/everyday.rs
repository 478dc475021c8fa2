//! What a client does every day besides reading from one end to the other: it seeks, asks for the offsets of
//! times, sends what just fits, and lives on while its topic is deleted and made again.

use super::client::Client;
use super::talk::Talk;
use crate::tally::Report;

/// Records of the topic's first life, a second apart.
const COUNT: i64 = 20;
const STEP_MS: i64 = 1000;
const RENEWED: i64 = 3;
/// `max.message.bytes` where nobody set it.
pub const BATCH_BYTES_MAX: usize = 1_048_588;
/// A batch of one record of about a megabyte with a key and no headers has so much besides key and value: 61 for
/// the batch, then the record's length (3), attributes, timestamp, offset and key length (1 each), value
/// length (3) and count of headers (1).
pub const BATCH_BYTES_BESIDES: usize = 61 + 3 + 4 + 3 + 1;
const LARGE_KEY: &str = "big";
/// The largest value that fits beside that key.
const FITS: usize = BATCH_BYTES_MAX - BATCH_BYTES_BESIDES - LARGE_KEY.len();

/// What a step does, with the time of the first record.
type Step = fn(&mut Talk, i64) -> Result<(), String>;

/// A client's passage; `base` is a time of day in milliseconds.
pub fn check(client: &dyn Client, bootstrap: &str, topic: &str, base: i64, report: &mut Report) {
    let mut talk = match client.talk(bootstrap, topic) {
        None => return,
        Some(Ok(talk)) => talk,
        Some(Err(reason)) => {
            report.check("everyday: the driver starts", Err(reason));
            return;
        }
    };
    let steps: [(&str, Step); 5] = [
        ("each record is acknowledged at its offset", fill),
        ("offsets for times", times),
        ("seek to an offset, the beginning, the end", seek),
        ("a batch of max.message.bytes, and one byte more", sizes),
        ("a topic that is deleted and made again", renew),
    ];
    for (what, step) in steps {
        let outcome = step(&mut talk, base);
        if !report.check(&format!("everyday: {what}"), outcome) && what.starts_with("each") {
            return;
        }
    }
    report.check("everyday: the driver ends cleanly", talk.close());
}

fn fill(talk: &mut Talk, base: i64) -> Result<(), String> {
    talk.ask("create 2")?;
    for n in 0..COUNT {
        let time = base + STEP_MS * n;
        expect_offset(talk, &format!("send 0 {time} old-{n} {}", 100 + n), n)?;
    }
    Ok(())
}

fn times(talk: &mut Talk, base: i64) -> Result<(), String> {
    let last = base + STEP_MS * (COUNT - 1);
    for (time, offset) in [
        (0, 0),
        (base - 1, 0),
        (base, 0),
        (base + 5 * STEP_MS, 5),
        (base + 5 * STEP_MS + 1, 6),
        (last, COUNT - 1),
    ] {
        expect_offset(talk, &format!("offset-for 0 {time}"), offset)?;
    }
    // Kafka answers −1; some clients make none of it, some the end of the log.
    let order = format!("offset-for 0 {}", last + 1);
    match talk.ask_offset(&order)? {
        None | Some(-1 | COUNT) => Ok(()),
        other => Err(format!("{order}: {other:?}, and no record is so late")),
    }
}

fn seek(talk: &mut Talk, base: i64) -> Result<(), String> {
    let old = |n: i64| expected(n, base, &format!("old-{n}"), 100 + n);
    for (place, first) in [("7", 7), ("beginning", 0), ("19", 19), ("3", 3)] {
        expect_offset(talk, &format!("seek 0 {place}"), first)?;
        expect_records(talk, (first..COUNT).map(old).collect())?;
    }
    expect_offset(talk, "seek 0 end", COUNT)?;
    let time = base + STEP_MS * COUNT;
    expect_offset(talk, &format!("send 0 {time} old-{COUNT} 120"), COUNT)?;
    expect_records(talk, vec![old(COUNT)])
}

fn sizes(talk: &mut Talk, base: i64) -> Result<(), String> {
    expect_offset(talk, &format!("send 1 {base} {LARGE_KEY} {FITS}"), 0)?;
    let order = format!("send 1 {base} {LARGE_KEY} {}", FITS + 1);
    match talk.ask(&order) {
        Err(said) if said == format!("{order}: error 10") => {}
        other => return Err(format!("{order}: {other:?}, expected error 10")),
    }
    expect_offset(talk, &format!("send 1 {base} after 10"), 1)?;
    expect_offset(talk, "seek 1 beginning", 0)?;
    // A batch larger than a client asks for comes all the same.
    let all = vec![
        expected(0, base, LARGE_KEY, FITS as i64),
        expected(1, base, "after", 10),
    ];
    expect_records(talk, all)
}

fn renew(talk: &mut Talk, base: i64) -> Result<(), String> {
    expect_offset(talk, "seek 0 end", COUNT + 1)?;
    talk.ask("delete")?;
    talk.ask("create 2")?;
    for n in 0..RENEWED {
        expect_offset(talk, &format!("send 0 {base} new-{n} 10"), n)?;
    }
    expect_offset(talk, "seek 0 beginning", 0)?;
    let new = |n: i64| expected(n, base, &format!("new-{n}"), 10);
    expect_records(talk, (0..RENEWED).map(new).collect())?;
    expect_offset(talk, "seek 0 end", RENEWED)?;
    expect_offset(talk, &format!("send 0 {base} new-{RENEWED} 10"), RENEWED)?;
    expect_records(talk, vec![new(RENEWED)])
}

fn expected(offset: i64, time: i64, key: &str, bytes: i64) -> String {
    let time = if key.starts_with("old-") {
        time + STEP_MS * offset
    } else {
        time
    };
    format!("record {offset} {time} {key} {bytes}")
}

fn expect_offset(talk: &mut Talk, order: &str, offset: i64) -> Result<(), String> {
    match talk.ask_offset(order)? {
        Some(found) if found == offset => Ok(()),
        other => Err(format!("{order}: {other:?}, expected {offset}")),
    }
}

fn expect_records(talk: &mut Talk, all: Vec<String>) -> Result<(), String> {
    let order = format!("read {}", all.len());
    let read = talk.ask(&order)?;
    if read == all {
        Ok(())
    } else {
        Err(format!("{order}: {read:?}, expected {all:?}"))
    }
}
