//! Lines of standard input or a file, read on a thread of their own.
//!
//! A read of a terminal cannot be interrupted, so it must not sit on the runtime, which would wait for it at the end. The
//! thread hands over some lines at a time and waits when they are not taken.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Context;
use tokio::sync::mpsc;

/// Lines handed over at a time, at most.
const LINES: usize = 256;
/// Groups of lines that wait to be taken.
const GROUPS: usize = 16;

/// Lines without their newline, with the number of the first one of the group.
pub(crate) type Group = std::io::Result<Vec<Vec<u8>>>;

/// Begins to read the file, or standard input if there is none. A line longer than `bytes_max` is an error.
pub(crate) fn read_lines(
    file: Option<&Path>,
    bytes_max: usize,
) -> anyhow::Result<mpsc::Receiver<Group>> {
    let source: Box<dyn Read + Send> = match file {
        Some(path) => Box::new(
            std::fs::File::open(path)
                .with_context(|| format!("cannot open `{}`", path.display()))?,
        ),
        None => Box::new(std::io::stdin()),
    };
    let (sender, receiver) = mpsc::channel(GROUPS);
    std::thread::Builder::new()
        .name("read-lines".to_owned())
        .spawn(move || {
            read_groups(
                BufReader::with_capacity(64 * 1024, source),
                bytes_max,
                &sender,
            )
        })
        .context("cannot start a thread to read lines")?;
    Ok(receiver)
}

fn read_groups(
    mut source: BufReader<Box<dyn Read + Send>>,
    bytes_max: usize,
    sender: &mpsc::Sender<Group>,
) {
    let mut number = 0;
    loop {
        let mut group = Vec::new();
        // Waits for one line, then takes the ones that are there already.
        loop {
            number += 1;
            match next_line(&mut source, bytes_max, number) {
                Ok(Some(line)) => group.push(line),
                Ok(None) => {
                    let _ = sender.blocking_send(Ok(group));
                    return;
                }
                Err(error) => {
                    let _ = sender.blocking_send(Ok(group));
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
            if group.len() == LINES || !source.buffer().contains(&b'\n') {
                break;
            }
        }
        if sender.blocking_send(Ok(group)).is_err() {
            return;
        }
    }
}

fn next_line(
    source: &mut impl BufRead,
    bytes_max: usize,
    number: u64,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let limit = bytes_max as u64 + 1;
    if source.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > bytes_max {
        return Err(std::io::Error::other(format!(
            "line {number} is longer than {bytes_max} bytes, the largest record that is sent; split it, or raise --request-bytes-max"
        )));
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_lose_their_newline_and_nothing_else() {
        let mut source = &b"a\n\n\xff b\r\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut source, 100, 1).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, [&b"a"[..], b"", b"\xff b\r", b"last"]);
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_more_is_named() {
        assert_eq!(
            next_line(&mut &b"abc\nd"[..], 3, 1).unwrap().unwrap(),
            b"abc"
        );
        let error = next_line(&mut &b"abcd"[..], 3, 7).unwrap_err();
        assert!(error.to_string().starts_with("line 7 is longer than 3"));
    }
}
