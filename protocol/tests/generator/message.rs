//! Random messages, written byte by byte as the message files say, without the codec under test.
//!
//! The first values of each message are special ([`Mode`]); the others are random.

use bytes::BufMut;

use super::random::Random;
use super::schema::{Field, Message};

/// A length that needs three bytes as a varint.
const LONG: usize = 20_000;
/// So many long values in one message.
const LONG_MAX: u32 = 3;
/// The first tag that no message file uses, with much room.
const UNKNOWN_TAG: u32 = 1000;

/// What a value is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Every field at its default.
    Default,
    /// Null wherever there is null, else as random.
    Nulls,
    /// Empty strings, bytes and arrays.
    Empty,
    /// Strings and bytes of 20,000 bytes.
    Long,
    /// All bits set: −1 for numbers, no null.
    Ones,
    Random,
}

/// The message number `index`. With the same seed, `unknown_tags` adds tagged fields and changes nothing
/// else.
pub fn message(
    message: &Message,
    version: i16,
    index: usize,
    random: &mut Random,
    unknown_tags: bool,
) -> Vec<u8> {
    let mode = match index {
        0 => Mode::Default,
        1 => Mode::Nulls,
        2 => Mode::Empty,
        3 => Mode::Long,
        4 => Mode::Ones,
        _ if random.one_in(20) => Mode::Long,
        _ => Mode::Random,
    };
    let mut writer = Writer {
        version,
        flexible: message.is_flexible(version),
        mode,
        random,
        unknown: unknown_tags.then(|| Random::new(index as u64)),
        long_left: LONG_MAX,
        out: Vec::new(),
    };
    writer.fields(&message.fields);
    writer.out
}

struct Writer<'r> {
    version: i16,
    flexible: bool,
    mode: Mode,
    random: &'r mut Random,
    /// Chooses the unknown tags, apart from the other choices.
    unknown: Option<Random>,
    long_left: u32,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn fields(&mut self, fields: &[Field]) {
        let version = self.version;
        for field in fields {
            if field.is_in(version) && !field.is_tagged(version) {
                self.field(field);
            }
        }
        if self.flexible {
            self.tags(fields);
        }
    }

    fn tags(&mut self, fields: &[Field]) {
        let version = self.version;
        let mut tags = Vec::new();
        for field in fields.iter().filter(|field| field.is_tagged(version)) {
            let default = self.apart(Mode::Default, field);
            let value = self.apart(self.mode, field);
            if value != default {
                tags.push((field.tag.unwrap_or_default(), value));
            }
        }
        tags.sort();
        if let Some(unknown) = &mut self.unknown {
            for _ in 0..[0, 0, 1, 1, 3, 64][unknown.below(6)] {
                let last = tags.last().map_or(0, |(tag, _)| *tag);
                let tag = last.max(UNKNOWN_TAG) + 1 + unknown.below(200) as u32;
                let length = unknown.below(20);
                tags.push((tag, unknown.bytes(length)));
            }
        }
        self.uvarint(tags.len());
        for (tag, value) in tags {
            self.uvarint(tag as usize);
            self.uvarint(value.len());
            self.out.put_slice(&value);
        }
    }

    /// A tagged field's value, in a buffer of its own.
    fn apart(&mut self, mode: Mode, field: &Field) -> Vec<u8> {
        let outer = std::mem::take(&mut self.out);
        let outer_mode = std::mem::replace(&mut self.mode, mode);
        // What it is compared with has no unknown fields.
        let unknown = self.unknown.take();
        if mode != Mode::Default {
            self.unknown = unknown;
            self.field(field);
        } else {
            self.field(field);
            self.unknown = unknown;
        }
        self.mode = outer_mode;
        std::mem::replace(&mut self.out, outer)
    }

    fn field(&mut self, field: &Field) {
        let flexible = self.flexible && !field.is_never_flexible;
        let can_be_null = field.is_nullable(self.version);
        let is_struct = !field.is_array && field.kind.starts_with(|c: char| c.is_uppercase());
        let is_default_null = match &field.default {
            Some(text) => text == "null",
            None => field.kind == "records" && !field.is_array,
        };
        let is_null = can_be_null
            && match self.mode {
                Mode::Default => is_default_null,
                Mode::Nulls => true,
                Mode::Random => self.random.one_in(4),
                Mode::Empty | Mode::Long | Mode::Ones => false,
            };
        if is_struct {
            let has_marker = can_be_null && field.tag.is_none();
            // A tagged struct has no marker: it is null when it is absent.
            if is_null && !has_marker {
                return;
            }
            if has_marker {
                self.out.put_i8(if is_null { -1 } else { 1 });
            }
            if !is_null {
                self.fields(&field.fields);
            }
        } else if is_null {
            let is_short = field.kind == "string" && !field.is_array;
            match (flexible, is_short) {
                (true, _) => self.uvarint(0),
                (false, true) => self.out.put_i16(-1),
                (false, false) => self.out.put_i32(-1),
            }
        } else if field.is_array {
            self.array(field, flexible);
        } else {
            self.value(field, flexible);
        }
    }

    fn array(&mut self, field: &Field, flexible: bool) {
        let count = match self.mode {
            Mode::Default | Mode::Empty => 0,
            Mode::Random => self.random.below(4),
            Mode::Nulls | Mode::Long | Mode::Ones => 1,
        };
        self.long_length(count, flexible);
        for _ in 0..count {
            if field.fields.is_empty() && !field.kind.starts_with(|c: char| c.is_uppercase()) {
                self.value(field, flexible);
            } else {
                self.fields(&field.fields);
            }
        }
    }

    fn value(&mut self, field: &Field, flexible: bool) {
        let number = self.number(field);
        match field.kind.as_str() {
            "bool" => self.out.put_u8((number & 1) as u8),
            "int8" => self.out.put_u8(number as u8),
            "int16" | "uint16" => self.out.put_u16(number as u16),
            "int32" => self.out.put_u32(number as u32),
            "int64" => self.out.put_u64(number),
            // As a number, not as any bits: not every NaN survives other machines.
            "float64" => self.out.put_f64(number as i64 as f64),
            "uuid" => {
                let low = self.number(field);
                self.out.put_u64(number);
                self.out.put_u64(low);
            }
            "string" => {
                let text = match (&field.default, self.mode) {
                    (Some(text), Mode::Default) if text != "null" => text.clone(),
                    _ => {
                        let length = self.length();
                        self.random.text(length)
                    }
                };
                if flexible {
                    self.uvarint(text.len() + 1);
                } else {
                    self.out.put_u16(text.len() as u16);
                }
                self.out.put_slice(text.as_bytes());
            }
            _ => {
                let length = self.length();
                let bytes = self.random.bytes(length);
                self.long_length(bytes.len(), flexible);
                self.out.put_slice(&bytes);
            }
        }
    }

    fn number(&mut self, field: &Field) -> u64 {
        match self.mode {
            Mode::Default => default_number(field.default.as_deref()),
            Mode::Ones => u64::MAX,
            _ => self.random.number(),
        }
    }

    /// How long a string or byte array shall be.
    fn length(&mut self) -> usize {
        match self.mode {
            Mode::Default | Mode::Empty => 0,
            Mode::Long if self.long_left > 0 => {
                self.long_left -= 1;
                LONG
            }
            Mode::Ones => 127,
            _ => [0, 1, 5, 20, 126, 127][self.random.below(6)],
        }
    }

    fn long_length(&mut self, length: usize, flexible: bool) {
        if flexible {
            self.uvarint(length + 1);
        } else {
            self.out.put_i32(length as i32);
        }
    }

    fn uvarint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }
}

fn default_number(text: Option<&str>) -> u64 {
    match text {
        None | Some("" | "false") => 0,
        Some("true") => 1,
        Some(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).unwrap_or_default(),
            None => text.parse::<i64>().unwrap_or_default() as u64,
        },
    }
}
