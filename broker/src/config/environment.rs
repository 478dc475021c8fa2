//! Settings in the environment: `MILLSTREAM_SET_LOG_RETENTION_MS=60000` is `--set log.retention.ms=60000`.
//!
//! A name is written in capitals, with `_` for `.`, `__` for `-` and `___` for `_`, as in the variables that
//! Kafka's container images take. The prefix is one that nothing else begins with: an orchestrator gives
//! every container variables by the names of its services, and a service may well be named `millstream`.

use std::env;
use std::ffi::OsString;

use super::error::ConfigError;
use super::origin::{Entry, Origin};

/// What begins the name of a variable that is a setting.
pub const PREFIX: &str = "MILLSTREAM_SET_";

/// The variables of this process that are settings.
#[must_use]
pub fn of_process() -> Vec<(OsString, OsString)> {
    env::vars_os()
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        .collect()
}

/// Reads the settings, by the names of their variables: the system has no order of its own.
pub(super) fn parse(variables: &[(OsString, OsString)]) -> Result<Vec<Entry>, ConfigError> {
    let entries = variables.iter().map(|(variable, value)| {
        let shown = variable.to_string_lossy().chars().take(200).collect();
        let origin = Origin::Environment(shown);
        let name = variable.to_str().and_then(|name| name.strip_prefix(PREFIX));
        match (name.filter(|name| !name.is_empty()), value.to_str()) {
            (Some(name), Some(value)) => Ok(Entry {
                name: setting_name(name),
                value: value.to_owned(),
                origin,
            }),
            (None, _) => Err((origin, "names no setting")),
            (_, None) => Err((origin, "has a value that is not UTF-8")),
        }
        .map_err(|(origin, reason)| ConfigError::Syntax {
            origin,
            reason: reason.to_owned(),
        })
    });
    let mut entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
    entries.sort_by_cached_key(|entry| entry.origin.to_string());
    Ok(entries)
}

/// The setting behind a variable's name, without the prefix.
fn setting_name(variable: &str) -> String {
    let lower = variable.to_lowercase();
    let mut name = String::with_capacity(lower.len());
    let mut rest = lower.as_str();
    while let Some(at) = rest.find('_') {
        name.push_str(&rest[..at]);
        rest = &rest[at..];
        let (length, sign) = match rest {
            _ if rest.starts_with("___") => (3, '_'),
            _ if rest.starts_with("__") => (2, '-'),
            _ => (1, '.'),
        };
        name.push(sign);
        rest = &rest[length..];
    }
    name + rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect();
        let entries = parse(&variables).map_err(|error| error.to_string())?;
        let show = |entry: Entry| format!("{} {}={}", entry.origin, entry.name, entry.value);
        Ok(entries.into_iter().map(show).collect())
    }

    #[test]
    fn variables_are_names_in_capitals() {
        let read = read(&[
            (
                "MILLSTREAM_SET_LISTENER_NAME_SASL___PLAIN__TEXT_MAX_CONNECTIONS",
                "5",
            ),
            ("MILLSTREAM_SET_LOG_RETENTION_MS", " 60000 "),
            ("MILLSTREAM_SET_BROKER_RACK", ""),
        ]);
        let expected = [
            "MILLSTREAM_SET_BROKER_RACK broker.rack=",
            "MILLSTREAM_SET_LISTENER_NAME_SASL___PLAIN__TEXT_MAX_CONNECTIONS \
             listener.name.sasl_plain-text.max.connections=5",
            "MILLSTREAM_SET_LOG_RETENTION_MS log.retention.ms= 60000 ",
        ];
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn what_is_no_setting_is_refused_by_its_variable() {
        let none = read(&[("MILLSTREAM_SET_", "1")]).unwrap_err();
        assert_eq!(none, "MILLSTREAM_SET_: names no setting");
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_refused() {
        use std::os::unix::ffi::OsStringExt;
        let broken = OsString::from_vec(vec![0xff]);
        let variables = [(OsString::from("MILLSTREAM_SET_BROKER_RACK"), broken)];
        let error = parse(&variables).unwrap_err().to_string();
        assert_eq!(
            error,
            "MILLSTREAM_SET_BROKER_RACK: has a value that is not UTF-8"
        );
    }
}
