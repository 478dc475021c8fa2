//! Topics and partitions, and which names a topic may have.

use std::fmt;
use std::sync::Arc;

/// Tells a topic from a later one of the same name (KIP-516). Zero means none.
///
/// Its text form is URL-safe base64 without padding, 22 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl TopicId {
    /// The wire's "no id".
    pub const ZERO: TopicId = TopicId([0; 16]);

    /// Whether this is the wire's "no id".
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 16]
    }

    /// Makes a version 4 UUID from 128 random bits, re-drawing its first byte away from a text form
    /// that begins with `-`, which command lines would read as an option.
    #[must_use]
    pub fn from_random(bits: u128) -> TopicId {
        let mut bytes = bits.to_be_bytes();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        if bytes[0] >> 2 == 62 {
            bytes[0] = 0;
        }
        TopicId(bytes)
    }

    /// Reads the text form. `None` when it is not 22 characters of URL-safe base64.
    #[must_use]
    pub fn parse(text: &str) -> Option<TopicId> {
        if text.len() != 22 {
            return None;
        }
        let mut bits: u128 = 0;
        let mut digits = text.bytes();
        for digit in digits.by_ref().take(21) {
            bits = (bits << 6) | base64_value(digit)?;
        }
        let last = base64_value(digits.next()?)?;
        if last & 0x0f != 0 {
            return None;
        }
        Some(TopicId(((bits << 2) | (last >> 4)).to_be_bytes()))
    }
}

fn base64_value(digit: u8) -> Option<u128> {
    let position = BASE64_URL.iter().position(|&b| b == digit)?;
    Some(position as u128)
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        for shift in (0..21).map(|i| 122 - 6 * i) {
            let digit = (bits >> shift) as usize & 0x3f;
            write!(f, "{}", BASE64_URL[digit] as char)?;
        }
        let last = (bits as usize & 0x03) << 4;
        write!(f, "{}", BASE64_URL[last] as char)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition by name. Cloning shares the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name, checked by [`check_topic_name`].
    pub topic: Arc<str>,
    /// The partition's index. *Bounds*: ≥ 0.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Why a name cannot be a topic's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidTopicName {
    /// The empty string.
    Empty,
    /// `.` or `..`, which would name a directory.
    Dots,
    /// More than 249 bytes.
    TooLong,
    /// A byte outside `[a-zA-Z0-9._-]`.
    Character,
}

impl fmt::Display for InvalidTopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidTopicName::Empty => "topic name is empty",
            InvalidTopicName::Dots => "topic name cannot be \".\" or \"..\"",
            InvalidTopicName::TooLong => "topic name is longer than 249 characters",
            InvalidTopicName::Character => {
                "topic name has a character other than letters, digits, '.', '_' and '-'"
            }
        })
    }
}

impl std::error::Error for InvalidTopicName {}

/// Checks a topic's name: 1 – 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..`. A name that passes is
/// safe as part of a directory's name.
pub fn check_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    if name.is_empty() {
        return Err(InvalidTopicName::Empty);
    }
    if name == "." || name == ".." {
        return Err(InvalidTopicName::Dots);
    }
    if name.len() > 249 {
        return Err(InvalidTopicName::TooLong);
    }
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.bytes().all(is_legal) {
        return Err(InvalidTopicName::Character);
    }
    Ok(())
}

/// Whether two different names differ only in `.` and `_`, which metric names cannot tell apart.
#[must_use]
pub fn names_collide(a: &str, b: &str) -> bool {
    let fold = |c: u8| if c == b'.' { b'_' } else { c };
    a != b && a.len() == b.len() && a.bytes().map(fold).eq(b.bytes().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_id_text_round_trips() {
        let id = TopicId(0x0123_4567_89ab_4def_8123_4567_89ab_cdef_u128.to_be_bytes());
        let text = id.to_string();
        assert_eq!(text.len(), 22);
        assert_eq!(TopicId::parse(&text), Some(id));
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn topic_id_text_with_stray_bits_is_refused() {
        assert_eq!(TopicId::parse("AAAAAAAAAAAAAAAAAAAAAB"), None);
        assert_eq!(TopicId::parse("short"), None);
    }

    #[test]
    fn random_ids_never_begin_with_a_dash() {
        let id = TopicId::from_random(u128::MAX << 120 & !(3 << 120));
        assert!(!id.to_string().starts_with('-'));
    }

    #[test]
    fn names_at_and_past_each_bound() {
        assert_eq!(check_topic_name(&"a".repeat(249)), Ok(()));
        assert_eq!(
            check_topic_name(&"a".repeat(250)),
            Err(InvalidTopicName::TooLong)
        );
        assert_eq!(check_topic_name(""), Err(InvalidTopicName::Empty));
        assert_eq!(check_topic_name(".."), Err(InvalidTopicName::Dots));
        assert_eq!(check_topic_name("a/b"), Err(InvalidTopicName::Character));
        assert_eq!(check_topic_name("a.b_c-9"), Ok(()));
    }

    #[test]
    fn collision_folds_dot_and_underscore() {
        assert!(names_collide("a.b", "a_b"));
        assert!(!names_collide("a.b", "a.b"));
        assert!(!names_collide("a.b", "a-b"));
    }
}
