//! `config/millstream.toml`: every setting that changes something, written from the table.

use std::fmt::Write;

use millstream_metadata::{ConfigRange, ConfigType};

use super::live::LIVE;
use super::setting::Setting;

const HEAD: &str = "\
# The settings of Millstream that have an effect, with their defaults. A file needs only what differs:
#   millstream serve --config FILE
# Names are those of Kafka's broker settings wherever Kafka has one; a server.properties works too.
# Single settings: millstream serve --set KEY=VALUE
";

/// The text of `config/millstream.toml`.
#[must_use]
pub fn reference_file() -> String {
    let mut text = HEAD.to_owned();
    for setting in LIVE {
        let range = match setting.range {
            ConfigRange::Any => String::new(),
            range => format!(" Takes {range}."),
        };
        let _ = write!(text, "\n# {}{range}\n{}\n", setting.doc, line(setting));
    }
    text
}

/// A setting without default stands there as a comment.
fn line(setting: &Setting) -> String {
    let quoted = format!("{:?}", setting.default);
    let value = match setting.type_ {
        ConfigType::Boolean
        | ConfigType::Int
        | ConfigType::Short
        | ConfigType::Long
        | ConfigType::Double => setting.default,
        ConfigType::String | ConfigType::List | ConfigType::Class | ConfigType::Password => &quoted,
    };
    match setting.default {
        "" => format!("# {:?} =", setting.name),
        _ => format!("{:?} = {value}", setting.name),
    }
}
