//! What an unknown name may have meant.

use std::borrow::Cow;
use std::fmt;

use millstream_metadata::topic_config_def;

use super::setting;

/// Longer names are not compared: no setting is that long.
const NAME_BYTES_MAX: usize = 100;

/// The end of a message about an unknown name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// A setting with nearly this name.
    Similar(Cow<'static, str>),
    /// The name is a topic's config; this setting is its default for all topics.
    DefaultOf(&'static str),
    /// The name is that of a setting of the whole broker, given for one listener.
    OfTheBroker(&'static str),
    /// The setting is one of listeners, and there is no such listener. These are there.
    NoSuchListener(String),
    /// Nothing is near.
    None,
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Suggestion::Similar(name) => write!(f, "; did you mean {name}?"),
            Suggestion::DefaultOf(name) => {
                write!(f, "; that is a config of topics, its default is {name}")
            }
            Suggestion::OfTheBroker(name) => {
                write!(f, "; that is a setting of the whole broker: {name}")
            }
            Suggestion::NoSuchListener(names) => {
                write!(f, "; there is no such listener among {names}")
            }
            Suggestion::None => write!(
                f,
                "; names are those of Kafka's broker settings, and millstream.…"
            ),
        }
    }
}

/// Looks for what `name` may have meant.
pub(super) fn suggest(name: &str) -> Suggestion {
    if let Some(synonym) = topic_config_def(name).and_then(|def| def.synonyms.first()) {
        return Suggestion::DefaultOf(synonym.name);
    }
    let near = nearest(name, setting::names()).map(Cow::Borrowed);
    near.map_or(Suggestion::None, Suggestion::Similar)
}

/// The nearest of these names, if it is near.
pub(super) fn nearest(
    name: &str,
    names: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let near = names.map(|known| (edit_distance(name, known), known));
    let (distance, known) = near.min()?;
    (distance <= 2.max(known.len() / 4)).then_some(known)
}

/// Insertions, deletions and replacements of bytes that make `a` into `b` (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_in_edits() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("log.dirs", "Log.dir"), 1);
    }

    #[test]
    fn slips_of_the_pen_are_recognised_and_nonsense_is_not() {
        assert_eq!(
            suggest("num.partition"),
            Suggestion::Similar("num.partitions".into())
        );
        assert_eq!(
            suggest("auto_create_topics_enable"),
            Suggestion::Similar("auto.create.topics.enable".into())
        );
        assert_eq!(
            suggest("retention.ms"),
            Suggestion::DefaultOf("log.retention.ms")
        );
        assert_eq!(suggest("zookeeper.connect"), Suggestion::None);
        assert_eq!(suggest(&"x".repeat(1_000_000)), Suggestion::None);
    }
}
