//! Reads the message files of `schema/` into plain structs.

use serde_json::Value;

/// Versions from `min` to `max`, both inclusive; `max` is `i16::MAX` for `3+`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub min: i16,
    pub max: i16,
}

impl Versions {
    /// `none`, and everything that ends up empty.
    pub const NONE: Versions = Versions { min: 1, max: 0 };

    pub fn parse(text: &str) -> Versions {
        if text == "none" {
            return Versions::NONE;
        }
        let number = |part: &str| part.parse().expect("a version is a number");
        if let Some(min) = text.strip_suffix('+') {
            return Versions {
                min: number(min),
                max: i16::MAX,
            };
        }
        match text.split_once('-') {
            Some((min, max)) => Versions {
                min: number(min),
                max: number(max),
            },
            None => Versions {
                min: number(text),
                max: number(text),
            },
        }
    }

    pub fn is_empty(self) -> bool {
        self.min > self.max
    }

    pub fn and(self, other: Versions) -> Versions {
        let both = Versions {
            min: self.min.max(other.min),
            max: self.max.min(other.max),
        };
        if both.is_empty() {
            Versions::NONE
        } else {
            both
        }
    }

    /// The smallest range that covers both.
    pub fn hull(self, other: Versions) -> Versions {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            _ => Versions {
                min: self.min.min(other.min),
                max: self.max.max(other.max),
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Float64,
    String,
    Bytes,
    Records,
    Uuid,
    Struct(String),
    Array(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Type {
        if let Some(element) = text.strip_prefix("[]") {
            return Type::Array(Box::new(Type::parse(element)));
        }
        match text {
            "bool" => Type::Bool,
            "int8" => Type::Int8,
            "int16" => Type::Int16,
            "uint16" => Type::Uint16,
            "int32" => Type::Int32,
            "int64" => Type::Int64,
            "float64" => Type::Float64,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "records" => Type::Records,
            "uuid" => Type::Uuid,
            name => Type::Struct(name.to_owned()),
        }
    }
}

pub struct Field {
    /// As the schema writes it, for errors.
    pub wire_name: String,
    pub name: String,
    pub kind: Type,
    /// Within those of the enclosing struct.
    pub versions: Versions,
    pub nullable: Versions,
    /// The schema's text of the default, where it has one.
    pub default: Option<String>,
    pub is_ignorable: bool,
    pub tag: Option<u32>,
    pub tagged: Versions,
    /// The one field that keeps the old string form in flexible versions.
    pub is_never_flexible: bool,
}

impl Field {
    /// Whether the field's Rust type is an `Option`.
    pub fn is_option(&self) -> bool {
        self.kind == Type::Records || !self.nullable.is_empty()
    }

    pub fn is_default_null(&self) -> bool {
        self.default.as_deref() == Some("null")
            || (self.kind == Type::Records && self.default.is_none())
    }
}

pub struct Struct {
    pub name: String,
    pub versions: Versions,
    pub fields: Vec<Field>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    Other,
}

pub struct Message {
    pub name: String,
    pub kind: Kind,
    pub api_key: Option<i16>,
    pub versions: Versions,
    pub flexible: Versions,
    /// The message itself first, then its inner structs.
    pub structs: Vec<Struct>,
}

impl Message {
    /// Reads a message. `None` for those without versions, which have no codec.
    pub fn parse(text: &str) -> Option<Message> {
        let json: Value = serde_json::from_str(text).expect("a schema file is JSON");
        let versions = Versions::parse(string(&json, "validVersions")?);
        if versions.is_empty() {
            return None;
        }
        let name = string(&json, "name")
            .expect("a message has a name")
            .to_owned();
        let mut structs = Vec::new();
        let common = json["commonStructs"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        collect(&name, &json["fields"], versions, &common, &mut structs);
        Some(Message {
            kind: match string(&json, "type") {
                Some("request") => Kind::Request,
                Some("response") => Kind::Response,
                _ => Kind::Other,
            },
            api_key: json["apiKey"].as_i64().map(|key| key as i16),
            flexible: versions
                .and(string(&json, "flexibleVersions").map_or(Versions::NONE, Versions::parse)),
            name,
            versions,
            structs,
        })
    }
}

fn string<'a>(json: &'a Value, key: &str) -> Option<&'a str> {
    json[key].as_str()
}

/// Adds the struct `name` and those its fields use; a struct used twice is valid in the hull of both.
fn collect(
    name: &str,
    fields: &Value,
    versions: Versions,
    common: &[Value],
    structs: &mut Vec<Struct>,
) {
    let fields = fields.as_array().expect("a struct has fields");
    let place = match structs.iter().position(|known| known.name == name) {
        Some(place) => place,
        None => {
            structs.push(Struct {
                name: name.to_owned(),
                versions,
                fields: Vec::new(),
            });
            structs.len() - 1
        }
    };
    let versions = structs[place].versions.hull(versions);
    structs[place].versions = versions;
    structs[place].fields = fields
        .iter()
        .map(|field| parse_field(field, versions))
        .collect();
    for json in fields {
        let used = parse_field(json, versions);
        let element = match used.kind {
            Type::Array(element) => *element,
            other => other,
        };
        let Type::Struct(inner) = element else {
            continue;
        };
        let inline = &json["fields"];
        let shared = common
            .iter()
            .find(|shared| string(shared, "name") == Some(&inner));
        let inner_fields = match shared {
            _ if inline.is_array() => inline,
            Some(shared) => &shared["fields"],
            None => panic!("struct {inner} of {name} is not defined"),
        };
        collect(&inner, inner_fields, used.versions, common, structs);
    }
}

fn parse_field(json: &Value, enclosing: Versions) -> Field {
    let wire_name = string(json, "name").expect("a field has a name").to_owned();
    let range = |key| string(json, key).map_or(Versions::NONE, Versions::parse);
    let tagged = range("taggedVersions").and(enclosing);
    let versions = match string(json, "versions") {
        Some(text) => Versions::parse(text).and(enclosing),
        None => tagged,
    };
    Field {
        name: snake_case(&wire_name),
        wire_name,
        kind: Type::parse(string(json, "type").expect("a field has a type")),
        versions,
        nullable: range("nullableVersions").and(versions),
        default: match &json["default"] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        },
        is_ignorable: json["ignorable"].as_bool().unwrap_or(false),
        tag: json["tag"].as_u64().map(|tag| tag as u32),
        tagged: tagged.and(versions),
        is_never_flexible: string(json, "flexibleVersions") == Some("none"),
    }
}

/// `TopicId` → `topic_id`; a keyword gets a trailing underscore.
pub fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, &c) in chars.iter().enumerate() {
        let after_lower = index > 0 && !chars[index - 1].is_ascii_uppercase();
        let before_lower = chars
            .get(index + 1)
            .is_some_and(|next| next.is_ascii_lowercase());
        if c.is_ascii_uppercase() && index > 0 && (after_lower || before_lower) {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    if matches!(
        snake.as_str(),
        "type" | "match" | "ref" | "move" | "enum" | "self" | "use"
    ) {
        snake.push('_');
    }
    snake
}
