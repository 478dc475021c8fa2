//! The message files, read for the generator alone: nothing here is shared with the code under test.

use std::collections::HashMap;
use std::path::Path;
use std::{fs, io};

use serde_json::Value;

/// A message file.
pub struct Message {
    pub fields: Vec<Field>,
    flexible: Range,
}

/// A field of a struct.
pub struct Field {
    /// Without the brackets of an array.
    pub kind: String,
    pub is_array: bool,
    /// Of the struct it holds.
    pub fields: Vec<Field>,
    pub default: Option<String>,
    pub tag: Option<u32>,
    pub is_never_flexible: bool,
    versions: Range,
    tagged: Range,
    nullable: Range,
}

/// First and last version.
type Range = Option<(i16, i16)>;

impl Message {
    pub fn is_flexible(&self, version: i16) -> bool {
        contains(self.flexible, version)
    }
}

impl Field {
    pub fn is_in(&self, version: i16) -> bool {
        contains(self.versions, version)
    }

    pub fn is_tagged(&self, version: i16) -> bool {
        self.tag.is_some() && contains(self.tagged, version)
    }

    pub fn is_nullable(&self, version: i16) -> bool {
        contains(self.nullable, version)
    }
}

fn contains(range: Range, version: i16) -> bool {
    range.is_some_and(|(first, last)| (first..=last).contains(&version))
}

/// Every message file of the folder, by the message's name.
pub fn read_all(folder: &Path) -> io::Result<HashMap<String, Message>> {
    let mut messages = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let json: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let Some(name) = json["name"].as_str() else {
            return Err(io::Error::other(format!("{}: no name", path.display())));
        };
        let message = Message {
            fields: fields(&json["fields"], &json["commonStructs"]),
            flexible: range(&json["flexibleVersions"]),
        };
        messages.insert(name.to_owned(), message);
    }
    Ok(messages)
}

fn fields(list: &Value, common: &Value) -> Vec<Field> {
    let list = list.as_array().into_iter().flatten();
    list.map(|json| field(json, common)).collect()
}

fn field(json: &Value, common: &Value) -> Field {
    let kind = json["type"].as_str().unwrap_or_default();
    let element = kind.strip_prefix("[]");
    let name = element.unwrap_or(kind);
    let mut shared = common.as_array().into_iter().flatten();
    let shared = shared.find(|item| item["name"] == name);
    let inner = shared.map_or(&json["fields"], |item| &item["fields"]);
    Field {
        kind: name.to_owned(),
        is_array: element.is_some(),
        fields: fields(inner, common),
        default: match &json["default"] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        },
        tag: json["tag"].as_u64().map(|tag| tag as u32),
        is_never_flexible: json["flexibleVersions"] == "none",
        versions: range(match &json["versions"] {
            Value::Null => &json["taggedVersions"],
            versions => versions,
        }),
        tagged: range(&json["taggedVersions"]),
        nullable: range(&json["nullableVersions"]),
    }
}

/// `3+`, `0-2`, `5`, `none`.
fn range(json: &Value) -> Range {
    let text = json.as_str()?;
    if let Some(first) = text.strip_suffix('+') {
        return Some((first.parse().ok()?, i16::MAX));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}
