//! A configuration file in the form of Java's properties, as Kafka's `server.properties` is.
//!
//! The form is that of `java.util.Properties.load`: comments begin with `#` or `!`, the name ends at
//! the first unescaped `=`, `:` or blank, a backslash at the end of a line continues it on the next, and
//! `\t \n \r \f \uXXXX` are escapes. The text is UTF-8. Of a name given twice the last counts.

use std::iter::Peekable;
use std::path::Path;
use std::str::{Chars, Lines};

use super::error::ConfigError;
use super::origin::{Entry, Origin};

/// Reads the settings of a file's text, in the order of the text.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let mut lines = text.lines().enumerate().peekable();
    let mut entries = Vec::new();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(BLANKS);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let line = continued(first, &mut lines);
        let origin = Origin::File {
            path: path.to_owned(),
            line: index + 1,
        };
        let entry = split(&line).map(|(name, value)| (name, value.trim_end().to_owned()));
        let (name, value) = entry.map_err(|reason| ConfigError::Syntax {
            origin: origin.clone(),
            reason,
        })?;
        entries.push(Entry {
            name,
            value,
            origin,
        });
    }
    Ok(entries)
}

const BLANKS: [char; 3] = [' ', '\t', '\x0c'];

/// A line with the lines that continue it.
fn continued(first: &str, lines: &mut Peekable<std::iter::Enumerate<Lines<'_>>>) -> String {
    let mut line = first.to_owned();
    // Only the last part is looked at: a run of backslashes over many lines would be counted again
    // for each.
    let mut part = first;
    while ends_in_continuation(part) {
        line.pop();
        let Some((_, next)) = lines.next() else { break };
        part = next.trim_start_matches(BLANKS);
        line.push_str(part);
    }
    line
}

/// An odd number of backslashes at the end: the last one is not escaped itself.
fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Cuts a line into name and value, both unescaped.
fn split(line: &str) -> Result<(String, String), String> {
    let mut name = String::new();
    let mut chars = line.chars();
    let mut rest = "";
    loop {
        let before = chars.as_str();
        match chars.next() {
            None => break,
            Some('\\') => unescape(&mut chars, &mut name)?,
            Some(c) if c == '=' || c == ':' || BLANKS.contains(&c) => {
                rest = before;
                break;
            }
            Some(c) => name.push(c),
        }
    }
    let rest = rest.trim_start_matches(BLANKS);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    let mut value = String::new();
    let mut chars = rest.trim_start_matches(BLANKS).chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => unescape(&mut chars, &mut value)?,
            _ => value.push(c),
        }
    }
    if name.is_empty() {
        return Err("a value without a name".to_owned());
    }
    Ok((name, value))
}

/// Reads what follows a backslash.
fn unescape(chars: &mut Chars<'_>, into: &mut String) -> Result<(), String> {
    match chars.next() {
        Some('t') => into.push('\t'),
        Some('n') => into.push('\n'),
        Some('r') => into.push('\r'),
        Some('f') => into.push('\x0c'),
        Some('u') => {
            let invalid = || "\\u needs four hexadecimal digits of a character".to_owned();
            let digits = chars.as_str().get(..4).ok_or_else(invalid)?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(invalid());
            }
            let code = u32::from_str_radix(digits, 16).map_err(|_| invalid())?;
            into.push(char::from_u32(code).ok_or_else(invalid)?);
            *chars = chars.as_str()[4..].chars();
        }
        Some(other) => into.push(other),
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let entries = parse(Path::new("s"), text).map_err(|error| error.to_string())?;
        let show = |entry: Entry| format!("{} {}={}", entry.origin, entry.name, entry.value);
        Ok(entries.into_iter().map(show).collect())
    }

    #[test]
    fn every_way_to_write_a_pair_is_read() {
        let text = "# comment\n! comment\n\n  node.id=1\nlog.dirs : /a,\\\n   /b\nempty\nblank 3 4 \n\
                    a\\=b\\:c = d=e\\\\\nunicode=\\u00e9\\t|\r\n";
        let expected = [
            "s:4 node.id=1",
            "s:5 log.dirs=/a,/b",
            "s:7 empty=",
            "s:8 blank=3 4",
            "s:9 a=b:c=d=e\\",
            "s:10 unicode=é\t|",
        ];
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn what_does_not_read_is_refused_with_its_line() {
        assert_eq!(read("a=1\n=2").unwrap_err(), "s:2: a value without a name");
        for broken in [
            "a=\\u12",
            "a=\\u12g4",
            "a=\\ud800",
            "a=\\u+123",
            "a=\\u00é1",
        ] {
            let error = read(broken).unwrap_err();
            assert!(
                error.starts_with("s:1: \\u needs four"),
                "{broken}: {error}"
            );
        }
    }

    /// Milliseconds are usual; whatever is quadratic takes minutes.
    #[test]
    fn the_longest_run_of_continued_backslashes_is_read_at_once() {
        let text = "\\\\\\\n".repeat((1 << 20) / 4);
        let begin = std::time::Instant::now();
        assert_eq!(
            read(&text).unwrap()[0].len(),
            "s:1 =".len() + text.len() / 4
        );
        assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
    }

    #[test]
    fn a_file_that_ends_in_the_middle_is_read_so_far() {
        assert_eq!(read("a=1\\").unwrap(), ["s:1 a=1"]);
        assert_eq!(read("a=1\\\n").unwrap(), ["s:1 a=1"]);
    }
}
