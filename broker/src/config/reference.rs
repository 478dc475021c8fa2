//! `config/millstream.toml`: every setting that changes something, written from the table.

use std::fmt::Write;

use millstream_metadata::{ConfigRange, ConfigType, LISTENER_PREFIX};

use super::live::LIVE;
use super::of_listener;
use super::setting::Setting;

const HEAD: &str = "\
# The settings of Millstream that have an effect, with their defaults. A file needs only what differs:
#   millstream serve --config FILE
# Names are those of Kafka's broker settings wherever Kafka has one; a server.properties works too.
# Single settings: millstream serve --set KEY=VALUE, or in the environment: MILLSTREAM_SET_NUM_PARTITIONS=3
";

const OF_LISTENERS: &str = "
# For one listener, NAME being its name in small letters:
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
    text.push_str(OF_LISTENERS);
    for setting in of_listener::LIVE {
        let range = setting.range;
        let name = format!("{LISTENER_PREFIX}NAME.{}", setting.name);
        let _ = write!(
            text,
            "\n# {} Takes {range}.\n# {name:?} = {}\n",
            setting.doc, setting.default
        );
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
