//! A configuration file in TOML. Kafka's dotted names are quoted keys, bare dotted keys or nested
//! tables alike: tables are flattened with dots.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::origin::{Entry, Origin};

/// Parts of a name; Kafka's longest has nine.
const NAME_PARTS_MAX: usize = 32;
/// Bytes of a name. A table's name stands before each of its keys, so that a long one in a file of
/// many keys would be as costly as the product of both.
const NAME_BYTES_MAX: usize = 256;

/// Reads the settings of a file's text, in the order of the text.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let file = Source::new(path, text);
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        file.error(at, explain(error.message()))
    })?;
    let mut entries = Vec::new();
    file.flatten("", 1, table.get_ref(), &mut entries)?;
    entries.sort_by_key(|(at, _)| *at);
    let entries: Vec<Entry> = entries.into_iter().map(|(_, entry)| entry).collect();
    check_each_once(&entries)?;
    Ok(entries)
}

/// `max.connections` beside `max.connections.per.ip` is legal here and impossible as bare TOML keys.
fn explain(message: &str) -> String {
    format!("not TOML: {message} (names with dots may be quoted: \"max.connections\" = 100)")
}

struct Source<'a> {
    path: &'a Path,
    /// Where the lines end, ascending: every setting asks for its line, and counting from the
    /// file's beginning each time would be quadratic.
    line_ends: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(path: &'a Path, text: &str) -> Source<'a> {
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Source { path, line_ends }
    }

    fn origin(&self, at: usize) -> Origin {
        let line = 1 + self.line_ends.partition_point(|end| *end < at);
        Origin::File {
            path: self.path.to_owned(),
            line,
        }
    }

    fn error(&self, at: usize, reason: String) -> ConfigError {
        ConfigError::Syntax {
            origin: self.origin(at),
            reason,
        }
    }

    fn flatten(
        &self,
        prefix: &str,
        depth: usize,
        table: &DeTable<'_>,
        entries: &mut Vec<(usize, Entry)>,
    ) -> Result<(), ConfigError> {
        for (key, value) in table {
            let at = key.span().start;
            if depth > NAME_PARTS_MAX {
                let reason = format!("a name of more than {NAME_PARTS_MAX} parts");
                return Err(self.error(at, reason));
            }
            let name = match prefix {
                "" => key.get_ref().to_string(),
                _ => format!("{prefix}.{}", key.get_ref()),
            };
            if name.len() > NAME_BYTES_MAX {
                let bytes = name.len();
                let reason =
                    format!("a name of {bytes} bytes; names have {NAME_BYTES_MAX} at most");
                return Err(self.error(at, reason));
            }
            if let DeValue::Table(inner) = value.get_ref() {
                self.flatten(&name, depth + 1, inner, entries)?;
            } else {
                let value = self.text_of(&name, value)?;
                entries.push((
                    at,
                    Entry {
                        name,
                        value,
                        origin: self.origin(at),
                    },
                ));
            }
        }
        Ok(())
    }

    fn text_of(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Result<String, ConfigError> {
        let refuse = |what: &str| Err(self.error(value.span().start, format!("{name} is {what}")));
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Boolean(flag) => Ok(flag.to_string()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Ok(number.to_string()),
                    Err(_) => refuse("a number beyond 64 bits"),
                }
            }
            DeValue::Array(items) => {
                let mut texts = Vec::new();
                for item in items {
                    if matches!(item.get_ref(), DeValue::Array(_)) {
                        return refuse("a list within a list; lists hold words and numbers");
                    }
                    texts.push(self.text_of(name, item)?);
                }
                Ok(texts.join(","))
            }
            DeValue::Table(_) => refuse("a table within a list; lists hold words and numbers"),
            DeValue::Datetime(_) => refuse("a date; quote it if it is meant as a text"),
        }
    }
}

/// TOML refuses a key written twice; the same name as quoted key and as nested table it does not see.
fn check_each_once(entries: &[Entry]) -> Result<(), ConfigError> {
    let mut seen: BTreeMap<&str, &Origin> = BTreeMap::new();
    for entry in entries {
        if let Some(before) = seen.insert(&entry.name, &entry.origin) {
            return Err(ConfigError::Syntax {
                origin: entry.origin.clone(),
                reason: format!("{} was set at {before} already", entry.name),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let entries = parse(Path::new("a.toml"), text).map_err(|error| error.to_string())?;
        let show = |entry: Entry| format!("{} {}={}", entry.origin, entry.name, entry.value);
        Ok(entries.into_iter().map(show).collect())
    }

    #[test]
    fn quoted_dotted_and_nested_names_are_the_same() {
        let text = "\"log.dirs\" = [\"/a\", \"/b\"]\nnode.id = 0x10\n\n[num]\npartitions = 3\n";
        let expected = [
            "a.toml:1 log.dirs=/a,/b",
            "a.toml:2 node.id=16",
            "a.toml:5 num.partitions=3",
        ];
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn names_that_begin_alike_stand_side_by_side_when_quoted() {
        let text = "\"max.connections\" = 10\n\"max.connections.per.ip\" = 5";
        assert_eq!(read(text).unwrap().len(), 2);
        let bare = read("max.connections = 10\nmax.connections.per.ip = 5").unwrap_err();
        assert!(bare.starts_with("a.toml:2: not TOML: "), "{bare}");
        assert!(bare.contains("may be quoted"), "{bare}");
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_line() {
        let twice = read("\"node.id\" = 1\n[node]\nid = 2").unwrap_err();
        assert_eq!(twice, "a.toml:3: node.id was set at a.toml:1 already");
        let date = read("\n\nnode.id = 1979-05-27").unwrap_err();
        assert_eq!(
            date,
            "a.toml:3: node.id is a date; quote it if it is meant as a text"
        );
        let nested = read("log.dirs = [[\"/a\"]]").unwrap_err();
        assert!(nested.contains("a list within a list"), "{nested}");
        let tables = read("[[log]]\ndirs = 1").unwrap_err();
        assert!(tables.contains("a table within a list"), "{tables}");
        let huge = read("node.id = 99999999999999999999").unwrap_err();
        assert!(huge.contains("node.id"), "{huge}");
    }

    /// Half a second is usual without optimisation; whatever is quadratic takes minutes. The bound
    /// leaves room for a busy machine.
    #[test]
    fn the_longest_file_is_read_at_once_whatever_is_in_it() {
        const FILE_BYTES: usize = 1 << 20;
        let fill = |head: &str, line: &dyn Fn(usize) -> String| {
            let mut text = head.to_owned();
            for index in 0.. {
                let line = line(index);
                if text.len() + line.len() > FILE_BYTES {
                    break;
                }
                text.push_str(&line);
            }
            text
        };
        let long = "x".repeat(FILE_BYTES / 2);
        let texts = [
            ("settings", fill("", &|i| format!("{i:x}=1\n"))),
            ("dotted", fill("", &|i| format!("a.b.c.d.{i:x}=1\n"))),
            ("tables", fill("", &|i| format!("[a.{i:x}]\nb=1\n"))),
            ("lists of tables", fill("", &|_| "[[a]]\n".to_owned())),
            ("inline tables", fill("", &|i| format!("a{i:x}={{a=1}}\n"))),
            ("blank lines", fill("a=1\n", &|_| "\n".to_owned())),
            ("comments", fill("a=1\n", &|_| "#\n".to_owned())),
            ("a list", fill("a=[", &|_| "1,".to_owned()) + "]"),
            ("a text", fill("a='''", &|_| "\n".to_owned()) + "'''"),
            ("errors", fill("", &|_| "=\n".to_owned())),
            ("brackets", fill("a=", &|_| "[".to_owned())),
            (
                "a long table",
                fill(&format!("[{long}]\n"), &|i| format!("{i:x}=1\n")),
            ),
        ];
        for (what, text) in texts {
            let begin = std::time::Instant::now();
            let outcome = read(&text).map(|entries| entries.len());
            let took = begin.elapsed();
            println!("{what}: {took:?}, {outcome:.80?}");
            assert!(took.as_secs() < 5, "{what} took {took:?}");
        }
    }

    #[test]
    fn a_long_name_is_refused_with_its_line_and_length() {
        let long = format!("\n[{}]\na = 1", "x".repeat(257));
        let expected = "a.toml:2: a name of 257 bytes; names have 256 at most";
        assert_eq!(read(&long).unwrap_err(), expected);
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let deep = format!("a = {}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&deep).is_err());
        let dotted = format!("{}a = 1", "a.".repeat(100_000));
        assert!(read(&dotted).is_err());
    }
}
