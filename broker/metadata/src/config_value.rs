//! The type and range of a config's value: one check for files, flags and requests.

use std::fmt;

use crate::address_limits::{ADDRESS_LIMITS_MAX, check_address_limits};

/// The type of a config, numbered as in DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
#[allow(missing_docs)] // the names are the meanings
pub enum ConfigType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    /// The name of a class of Java's.
    Class = 8,
    /// A text that is shown to nobody.
    Password = 9,
}

impl ConfigType {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// Which values of its type a config takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigRange {
    /// All of the type.
    Any,
    /// Whole numbers from this one on.
    AtLeast(i64),
    /// Whole numbers between two, both included.
    Between(i64, i64),
    /// Whole numbers between two, both included, or the third.
    BetweenOr(i64, i64, i64),
    /// Numbers from 0 to 1, both included.
    Ratio,
    /// Numbers above 0.
    Positive,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any of these words, each once at most.
    SubsetOf(&'static [&'static str]),
    /// Addresses with a limit for each.
    AddressCounts,
}

impl fmt::Display for ConfigRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigRange::Any => write!(f, "any value"),
            ConfigRange::AtLeast(low) => write!(f, "at least {low}"),
            ConfigRange::Between(low, high) => write!(f, "between {low} and {high}"),
            ConfigRange::BetweenOr(low, high, other) => {
                write!(f, "between {low} and {high}, or {other}")
            }
            ConfigRange::Ratio => write!(f, "between 0 and 1"),
            ConfigRange::Positive => write!(f, "above 0"),
            ConfigRange::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            ConfigRange::SubsetOf(words) => write!(f, "a list of {}", words.join(", ")),
            ConfigRange::AddressCounts => write!(
                f,
                "a list of ADDRESS:COUNT with at most {ADDRESS_LIMITS_MAX} IP addresses"
            ),
        }
    }
}

/// Why a config is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// No config has this name.
    #[error("unknown config {name}")]
    Unknown {
        /// The name as sent.
        name: String,
    },
    /// A config was set to null.
    #[error("config {name} needs a value, not null")]
    Null {
        /// The config's name.
        name: String,
    },
    /// The text is not of the config's type.
    #[error("config {name} has the value {value:?}, which is not {expected}")]
    Type {
        /// The config's name.
        name: String,
        /// The value as sent, cut to 200 characters.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The value is of the right type but not allowed.
    #[error("config {name} has the value {value:?}, but must be {expected}")]
    Range {
        /// The config's name.
        name: String,
        /// The value as sent, cut to 200 characters.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// Two configs contradict each other.
    #[error("config {name} is {value}, which must not be above {other} = {limit}")]
    Conflict {
        /// The config that is too high.
        name: &'static str,
        /// Its value.
        value: i64,
        /// The config that bounds it.
        other: &'static str,
        /// The value of that one.
        limit: i64,
    },
}

/// Cuts a value that came from outside, for a message.
fn shown(value: &str) -> String {
    value.chars().take(200).collect()
}

/// Checks a value and answers its canonical text: numbers without blanks, lists without doubles.
pub fn check_value(
    name: &str,
    type_: ConfigType,
    range: ConfigRange,
    value: &str,
) -> Result<String, InvalidConfig> {
    let trimmed = value.trim();
    let wrong_type = |expected| InvalidConfig::Type {
        name: name.to_string(),
        value: shown(value),
        expected,
    };
    let out_of_range = || InvalidConfig::Range {
        name: name.to_string(),
        value: shown(value),
        expected: range.to_string(),
    };
    match type_ {
        ConfigType::Boolean => {
            let lower = trimmed.to_ascii_lowercase();
            if !matches!(lower.as_str(), "true" | "false") {
                return Err(wrong_type("true or false"));
            }
            match range {
                ConfigRange::OneOf(words) if !words.contains(&lower.as_str()) => {
                    Err(out_of_range())
                }
                _ => Ok(lower),
            }
        }
        ConfigType::Int | ConfigType::Short | ConfigType::Long => {
            let number = match type_ {
                ConfigType::Int => trimmed.parse::<i32>().map(i64::from),
                ConfigType::Short => trimmed.parse::<i16>().map(i64::from),
                _ => trimmed.parse::<i64>(),
            };
            let expected = match type_ {
                ConfigType::Int => "a whole number of 32 bits",
                ConfigType::Short => "a whole number of 16 bits",
                _ => "a whole number of 64 bits",
            };
            let number = number.map_err(|_| wrong_type(expected))?;
            match is_number_in(range, number) {
                true => Ok(number.to_string()),
                false => Err(out_of_range()),
            }
        }
        ConfigType::Double => {
            let number = trimmed.parse::<f64>().map_err(|_| wrong_type("a number"))?;
            let is_in_range = match range {
                ConfigRange::Ratio => (0.0..=1.0).contains(&number),
                ConfigRange::Positive => number > 0.0,
                _ => !number.is_nan(),
            };
            // Debug writes `1.0` where Display writes `1`.
            if is_in_range {
                Ok(format!("{number:?}"))
            } else {
                Err(out_of_range())
            }
        }
        ConfigType::String if range == ConfigRange::AddressCounts => {
            check_address_limits(trimmed).ok_or_else(out_of_range)
        }
        ConfigType::String | ConfigType::Class | ConfigType::Password => {
            let is_in_range = match range {
                ConfigRange::OneOf(words) => words.contains(&trimmed),
                _ => true,
            };
            if is_in_range {
                Ok(trimmed.to_string())
            } else {
                Err(out_of_range())
            }
        }
        ConfigType::List => {
            let mut items: Vec<&str> = Vec::new();
            for item in split_list(trimmed) {
                if let ConfigRange::SubsetOf(words) = range
                    && !words.contains(&item)
                {
                    return Err(out_of_range());
                }
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            Ok(items.join(","))
        }
    }
}

/// The elements of a list's text, without blanks around them. The empty text is the empty list.
pub fn split_list(value: &str) -> impl Iterator<Item = &str> {
    let is_empty = value.trim().is_empty();
    value.split(',').map(str::trim).filter(move |_| !is_empty)
}

fn is_number_in(range: ConfigRange, number: i64) -> bool {
    match range {
        ConfigRange::AtLeast(low) => number >= low,
        ConfigRange::Between(low, high) => (low..=high).contains(&number),
        ConfigRange::BetweenOr(low, high, other) => {
            (low..=high).contains(&number) || number == other
        }
        ConfigRange::Positive => number > 0,
        ConfigRange::Any
        | ConfigRange::Ratio
        | ConfigRange::OneOf(_)
        | ConfigRange::SubsetOf(_)
        | ConfigRange::AddressCounts => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(type_: ConfigType, range: ConfigRange, value: &str) -> Result<String, InvalidConfig> {
        check_value("x", type_, range, value)
    }

    #[test]
    fn values_become_canonical() {
        use ConfigType::*;
        let any = ConfigRange::Any;
        assert_eq!(check(Boolean, any, " TRUE "), Ok("true".into()));
        assert_eq!(check(Int, any, " 0042 "), Ok("42".into()));
        assert_eq!(
            check(Long, any, "-9223372036854775808"),
            Ok(i64::MIN.to_string())
        );
        assert_eq!(check(Double, ConfigRange::Ratio, "1"), Ok("1.0".into()));
        assert_eq!(check(List, any, " a , b,a "), Ok("a,b".into()));
        assert_eq!(check(List, any, " "), Ok("".into()));
    }

    #[test]
    fn types_and_ranges_are_checked_at_their_ends() {
        use ConfigType::*;
        assert!(check(Int, ConfigRange::Any, "2147483648").is_err());
        assert!(check(Int, ConfigRange::Any, "1.5").is_err());
        assert!(check(Int, ConfigRange::AtLeast(1), "1").is_ok());
        assert!(check(Int, ConfigRange::AtLeast(1), "0").is_err());
        assert!(check(Int, ConfigRange::BetweenOr(1, 9, -1), "-1").is_ok());
        assert!(check(Int, ConfigRange::BetweenOr(1, 9, -1), "0").is_err());
        assert!(check(Double, ConfigRange::Ratio, "1.01").is_err());
        assert!(check(Double, ConfigRange::Ratio, "NaN").is_err());
        assert!(check(Boolean, ConfigRange::Any, "yes").is_err());
        let words = ConfigRange::SubsetOf(&["compact", "delete"]);
        assert!(check(List, words, "compact,delete").is_ok());
        assert!(check(List, words, "compact,shrink").is_err());
    }

    #[test]
    fn messages_cut_what_came_from_outside() {
        let error = check(ConfigType::Int, ConfigRange::Any, &"9".repeat(5000)).unwrap_err();
        assert!(error.to_string().len() < 400);
    }
}
