//! Writes the Rust code of one message: its structs, how they are read and how they are written.
//!
//! The code calls into `crate::wire` field by field. Whatever depends on the version is an `if`
//! around the field, left out where the field exists in every version of its struct.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::schema::{Field, Message, Struct, Type, Versions, snake_case};

/// Appends the module of `message` to `out`.
pub fn emit_message(out: &mut String, message: &Message) {
    let borrowing = borrowing_structs(&message.structs);
    let module = snake_case(&message.name);
    let code = &mut Emitter {
        out,
        message,
        borrowing,
    };
    code.line(&format!(
        "/// {}: versions {}.",
        message.name,
        describe(message.versions)
    ));
    code.line(&format!("pub mod {module} {{"));
    code.line("#[allow(unused_imports)] use std::borrow::Cow;");
    code.line("#[allow(unused_imports)] use crate::wire::{DecodeError, Decoder, EncodeError, Encoder, Message, Records};");
    for item in &message.structs {
        code.emit_struct(item);
        code.emit_default(item);
        code.emit_decode(item);
        code.emit_encode(item);
    }
    code.emit_message_impl();
    code.line("}");
}

/// The type parameters a message's top-level struct is named with: `<'a>`, or nothing.
pub fn lifetime_of(message: &Message, lifetime: &str) -> String {
    if borrowing_structs(&message.structs).contains(&message.name) {
        format!("<{lifetime}>")
    } else {
        String::new()
    }
}

/// The structs that hold strings or bytes, directly or inside others.
fn borrowing_structs(structs: &[Struct]) -> BTreeSet<String> {
    let mut borrowing = BTreeSet::new();
    loop {
        let before = borrowing.len();
        for item in structs {
            let borrows = |field: &Field| {
                let element = match &field.kind {
                    Type::Array(element) => element,
                    other => other,
                };
                match element {
                    Type::String | Type::Bytes => true,
                    Type::Struct(name) => borrowing.contains(name),
                    _ => false,
                }
            };
            if item.fields.iter().any(borrows) {
                borrowing.insert(item.name.clone());
            }
        }
        if borrowing.len() == before {
            return borrowing;
        }
    }
}

fn describe(versions: Versions) -> String {
    match versions {
        Versions { min, max: i16::MAX } => format!("{min} and above"),
        Versions { min, max } if min == max => format!("{min}"),
        Versions { min, max } => format!("{min} – {max}"),
    }
}

/// A condition on `version` that holds exactly in `wanted`, given that it lies in `known`.
fn condition(wanted: Versions, known: Versions) -> Option<String> {
    if wanted.is_empty() {
        return Some("false".to_owned());
    }
    let below = (wanted.min > known.min).then(|| format!("version >= {}", wanted.min));
    let above = (wanted.max < known.max).then(|| format!("version <= {}", wanted.max));
    match (below, above) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(one),
        (Some(below), Some(above)) => Some(format!("({below} && {above})")),
    }
}

struct Emitter<'a> {
    out: &'a mut String,
    message: &'a Message,
    borrowing: BTreeSet<String>,
}

impl Emitter<'_> {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn lifetime(&self, name: &str) -> &'static str {
        if self.borrowing.contains(name) {
            "<'a>"
        } else {
            ""
        }
    }

    fn rust_type(&self, kind: &Type) -> String {
        match kind {
            Type::Bool => "bool".into(),
            Type::Int8 => "i8".into(),
            Type::Int16 => "i16".into(),
            Type::Uint16 => "u16".into(),
            Type::Int32 => "i32".into(),
            Type::Int64 => "i64".into(),
            Type::Float64 => "f64".into(),
            Type::String => "Cow<'a, str>".into(),
            Type::Bytes => "Cow<'a, [u8]>".into(),
            Type::Records => "Records".into(),
            Type::Uuid => "[u8; 16]".into(),
            Type::Struct(name) => format!("{name}{}", self.lifetime(name)),
            Type::Array(element) => format!("Vec<{}>", self.rust_type(element)),
        }
    }

    fn emit_struct(&mut self, item: &Struct) {
        let lifetime = self.lifetime(&item.name);
        self.line(&format!("/// `{}` of {}.", item.name, self.message.name));
        self.line("#[derive(Clone, Debug, PartialEq)]");
        self.line(&format!("pub struct {}{lifetime} {{", item.name));
        for field in &item.fields {
            let mut kind = self.rust_type(&field.kind);
            if field.is_option() {
                kind = format!("Option<{kind}>");
            }
            let versions = if field.versions.is_empty() {
                "in no version".to_owned()
            } else {
                format!("versions {}", describe(field.versions))
            };
            self.line(&format!("/// `{}`, {versions}.", field.wire_name));
            self.line(&format!("pub {}: {kind},", field.name));
        }
        self.line("}");
    }

    fn emit_default(&mut self, item: &Struct) {
        let lifetime = self.lifetime(&item.name);
        let generics = if lifetime.is_empty() { "" } else { "<'a>" };
        self.line(&format!(
            "impl{generics} Default for {}{lifetime} {{",
            item.name
        ));
        self.line("fn default() -> Self { Self {");
        for field in &item.fields {
            self.line(&format!("{}: {},", field.name, default_value(field)));
        }
        self.line("} } }");
    }

    /// `version` in which this message is flexible, as an expression.
    fn flexible(&self, known: Versions) -> String {
        condition(self.message.flexible.and(known), known).unwrap_or_else(|| "true".to_owned())
    }

    fn emit_decode(&mut self, item: &Struct) {
        let lifetime = self.lifetime(&item.name);
        let generics = if lifetime.is_empty() { "" } else { "<'a>" };
        let decoder = if lifetime.is_empty() {
            "Decoder<'_>"
        } else {
            "Decoder<'a>"
        };
        let flexible = self.flexible(item.versions);
        self.line(&format!("impl{generics} {}{lifetime} {{", item.name));
        self.emit_min_size(item, &flexible);
        self.line("#[allow(unused_variables, unused_mut)]");
        self.line(&format!(
            "pub(crate) fn read(d: &mut {decoder}, version: i16) -> Result<Self, DecodeError> {{"
        ));
        self.line(&format!("let flexible = {flexible};"));
        self.line("let mut this = Self::default();");
        for field in item
            .fields
            .iter()
            .filter(|field| !field.versions.is_empty())
        {
            // A field is plain in the versions that are not its tagged ones.
            let plain = plain_versions(field);
            if plain.is_empty() {
                continue;
            }
            let read = self.read_field(field, plain);
            let assign = format!("this.{} = {read};", field.name);
            self.conditional(plain, item.versions, &assign);
        }
        if flexible != "false" {
            self.emit_read_tags(item);
        }
        self.line("Ok(this) }");
        self.line("}");
    }

    fn emit_read_tags(&mut self, item: &Struct) {
        self.line("if flexible {");
        self.line("let mut tags = d.tags()?;");
        self.line("while let Some((tag, end)) = d.next_tag(&mut tags)? {");
        self.line("match tag {");
        for field in item.fields.iter().filter(|field| !field.tagged.is_empty()) {
            let Some(tag) = field.tag else { continue };
            let guard = condition(field.tagged, item.versions);
            let guard = guard.map_or_else(String::new, |text| format!(" if {text}"));
            let read = self.read_field(field, field.tagged);
            self.line(&format!(
                "{tag}{guard} => {{ this.{} = {read}; }}",
                field.name
            ));
            if !guard.is_empty() {
                self.line(&format!(
                    "{tag} => return Err(d.tag_not_in_version(tag, version)),"
                ));
            }
        }
        self.line("_ => d.skip_tag(&mut tags, end)?,");
        self.line("} d.end_tag(end)?; } }");
    }

    fn emit_min_size(&mut self, item: &Struct, flexible: &str) {
        let is_element = self.message.structs.iter().flat_map(|other| &other.fields).any(|field| {
            matches!(&field.kind, Type::Array(element) if **element == Type::Struct(item.name.clone()))
        });
        if !is_element {
            return;
        }
        self.line("#[allow(unused_variables)]");
        self.line("fn min_size(version: i16) -> usize {");
        self.line(&format!("let flexible = {flexible};"));
        self.line("let mut size = usize::from(flexible);");
        for field in item
            .fields
            .iter()
            .filter(|field| !field.versions.is_empty())
        {
            let plain = plain_versions(field);
            if plain.is_empty() {
                continue;
            }
            let add = format!("size += {};", self.min_size_of(field, plain));
            self.conditional(plain, item.versions, &add);
        }
        self.line("size }");
    }

    fn min_size_of(&self, field: &Field, plain: Versions) -> String {
        let is_nullable = !field.nullable.and(plain).is_empty();
        match &field.kind {
            Type::Bool | Type::Int8 => "1".into(),
            Type::Int16 | Type::Uint16 => "2".into(),
            Type::Int32 => "4".into(),
            Type::Int64 | Type::Float64 => "8".into(),
            Type::Uuid => "16".into(),
            Type::String => "if flexible { 1 } else { 2 }".into(),
            Type::Bytes | Type::Records | Type::Array(_) => "if flexible { 1 } else { 4 }".into(),
            Type::Struct(_) if is_nullable => "1".into(),
            // The struct's own tag count and nothing else is certain without a look into it.
            Type::Struct(_) => "usize::from(flexible)".into(),
        }
    }

    fn conditional(&mut self, wanted: Versions, known: Versions, code: &str) {
        match condition(wanted, known) {
            Some(condition) => self.line(&format!("if {condition} {{ {code} }}")),
            None => self.line(code),
        }
    }

    /// The expression that reads a field in `versions`, with its `?`.
    fn read_field(&self, field: &Field, versions: Versions) -> String {
        let flexible = if field.is_never_flexible {
            "false"
        } else {
            "flexible"
        };
        if !field.is_option() {
            return self.read_value(&field.kind, flexible);
        }
        let nullable = self.read_nullable(&field.kind, flexible, field.tag.is_some());
        let plain = format!("Some({})", self.read_value(&field.kind, flexible));
        match condition(field.nullable.and(versions), versions) {
            None => nullable,
            Some(never) if never == "false" => plain,
            Some(condition) => format!("if {condition} {{ {nullable} }} else {{ {plain} }}"),
        }
    }

    fn read_value(&self, kind: &Type, flexible: &str) -> String {
        match kind {
            Type::Bool => "d.bool()?".into(),
            Type::Int8 => "d.i8()?".into(),
            Type::Int16 => "d.i16()?".into(),
            Type::Uint16 => "d.u16()?".into(),
            Type::Int32 => "d.i32()?".into(),
            Type::Int64 => "d.i64()?".into(),
            Type::Float64 => "d.f64()?".into(),
            Type::Uuid => "d.uuid()?".into(),
            Type::String => format!("d.string({flexible})?"),
            Type::Bytes => format!("d.bytes({flexible})?"),
            Type::Records => format!("d.records({flexible})?"),
            Type::Struct(name) => format!("{name}::read(d, version)?"),
            Type::Array(element) => {
                format!("d.array({flexible}, {})?", self.element(element, flexible))
            }
        }
    }

    fn read_nullable(&self, kind: &Type, flexible: &str, is_tagged: bool) -> String {
        match kind {
            Type::String => format!("d.nullable_string({flexible})?"),
            Type::Bytes => format!("d.nullable_bytes({flexible})?"),
            Type::Records => format!("d.nullable_records({flexible})?"),
            Type::Struct(name) if is_tagged => format!("Some({name}::read(d, version)?)"),
            Type::Struct(name) => {
                format!("if d.is_present()? {{ Some({name}::read(d, version)?) }} else {{ None }}")
            }
            Type::Array(element) => {
                format!(
                    "d.nullable_array({flexible}, {})?",
                    self.element(element, flexible)
                )
            }
            _ => panic!("a number cannot be null"),
        }
    }

    /// Smallest size and reader of an array's element.
    fn element(&self, element: &Type, flexible: &str) -> String {
        let min_size = match element {
            Type::Struct(name) => format!("{name}::min_size(version)"),
            Type::Bool | Type::Int8 => "1".into(),
            Type::Int16 | Type::Uint16 => "2".into(),
            Type::Int32 => "4".into(),
            Type::Int64 | Type::Float64 => "8".into(),
            Type::Uuid => "16".into(),
            _ => "1".into(),
        };
        let read = self.read_value(element, flexible);
        let read = read.strip_suffix('?').expect("every reader can fail");
        format!("{min_size}, |d| {read}")
    }

    fn emit_encode(&mut self, item: &Struct) {
        let lifetime = self.lifetime(&item.name);
        let generics = if lifetime.is_empty() { "" } else { "<'a>" };
        let flexible = self.flexible(item.versions);
        self.line(&format!("impl{generics} {}{lifetime} {{", item.name));
        self.line("#[allow(unused_variables)]");
        self.line(
            "pub(crate) fn write(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {",
        );
        self.line(&format!("let flexible = {flexible};"));
        for field in &item.fields {
            self.emit_write_plain(item, field);
        }
        if flexible != "false" {
            self.emit_write_tags(item);
        }
        self.line("Ok(()) }");
        self.line("}");
    }

    fn emit_write_plain(&mut self, item: &Struct, field: &Field) {
        let plain = plain_versions(field);
        let write = self.write_field(item, field, plain);
        let refuse = format!(
            "if {} {{ return Err(EncodeError::not_in_version(\"{}.{}\", version)); }}",
            is_not_default(field),
            item.name,
            field.wire_name
        );
        let absent = condition(field.versions, item.versions);
        if !plain.is_empty() {
            self.conditional(plain, item.versions, &write);
        }
        if let Some(condition) = absent
            && !field.is_ignorable
        {
            self.line(&format!("if !({condition}) {{ {refuse} }}"));
        }
    }

    fn emit_write_tags(&mut self, item: &Struct) {
        let mut tagged: Vec<&Field> = item
            .fields
            .iter()
            .filter(|field| !field.tagged.is_empty())
            .collect();
        tagged.sort_by_key(|field| field.tag);
        self.line("if flexible {");
        if tagged.is_empty() {
            self.line("e.uvarint(0); }");
            return;
        }
        let mut count = String::from("0u32");
        for field in &tagged {
            let present = self.tag_present(item, field);
            write!(count, " + u32::from({present})").expect("a string takes all");
        }
        self.line(&format!("e.uvarint({count});"));
        for field in tagged {
            let present = self.tag_present(item, field);
            let write = self.write_field(item, field, field.tagged);
            let tag = field.tag.expect("a tagged field has a tag");
            self.line(&format!(
                "if {present} {{ let mark = e.begin_tag({tag}); {write} e.end_tag(mark); }}"
            ));
        }
        self.line("}");
    }

    fn tag_present(&self, item: &Struct, field: &Field) -> String {
        let differs = is_not_default(field);
        match condition(field.tagged, item.versions) {
            Some(condition) => format!("({condition} && {differs})"),
            None => format!("({differs})"),
        }
    }

    /// Statements that write a field in `versions`.
    fn write_field(&self, item: &Struct, field: &Field, versions: Versions) -> String {
        let flexible = if field.is_never_flexible {
            "false"
        } else {
            "flexible"
        };
        let place = format!("self.{}", field.name);
        if !field.is_option() {
            return self.write_value(&field.kind, &format!("&{place}"), flexible);
        }
        let value = self.write_value(&field.kind, "value", flexible);
        let has_marker = matches!(field.kind, Type::Struct(_)) && field.tag.is_none();
        let some = match condition(field.nullable.and(versions), versions) {
            _ if !has_marker => value,
            None => format!("e.i8(1); {value}"),
            Some(condition) => format!("if {condition} {{ e.i8(1); }} {value}"),
        };
        let null = match &field.kind {
            Type::Struct(_) => "e.i8(-1);".to_owned(),
            Type::String => format!("e.null_string({flexible});"),
            Type::Bytes | Type::Records | Type::Array(_) => format!("e.null_array({flexible});"),
            _ => panic!("a number cannot be null"),
        };
        let refuse = format!(
            "return Err(EncodeError::not_nullable(\"{}.{}\", version));",
            item.name, field.wire_name
        );
        let none = match condition(field.nullable.and(versions), versions) {
            None => null,
            Some(never) if never == "false" => refuse,
            Some(condition) => format!("if {condition} {{ {null} }} else {{ {refuse} }}"),
        };
        format!("match &{place} {{ Some(value) => {{ {some} }} None => {{ {none} }} }}")
    }

    /// Statements that write the value behind the reference `place`.
    fn write_value(&self, kind: &Type, place: &str, flexible: &str) -> String {
        match kind {
            Type::Bool => format!("e.i8(i8::from(*{place}));"),
            Type::Int8 => format!("e.i8(*{place});"),
            Type::Int16 => format!("e.i16(*{place});"),
            Type::Uint16 => format!("e.u16(*{place});"),
            Type::Int32 => format!("e.i32(*{place});"),
            Type::Int64 => format!("e.i64(*{place});"),
            Type::Float64 => format!("e.f64(*{place});"),
            Type::Uuid => format!("e.uuid({place});"),
            Type::String => format!("e.string({place}, {flexible})?;"),
            Type::Bytes => format!("e.bytes({place}, {flexible})?;"),
            Type::Records => format!("e.records({place}, {flexible})?;"),
            Type::Struct(_) => format!("({place}).write(e, version)?;"),
            Type::Array(element) => {
                let write = self.write_value(element, "item", flexible);
                format!(
                    "e.array_length(({place}).len(), {flexible})?; for item in ({place}).iter() {{ {write} }}"
                )
            }
        }
    }

    fn emit_message_impl(&mut self) {
        let name = &self.message.name;
        let lifetime = self.lifetime(name);
        let versions = self.message.versions;
        let text = format!(
            "impl<'a> Message<'a> for {name}{lifetime} {{\n\
             const NAME: &'static str = \"{name}\";\n\
             const VERSIONS: std::ops::RangeInclusive<i16> = {}..={};\n\
             fn decode(d: &mut Decoder<'a>, version: i16) -> Result<Self, DecodeError> {{ Self::read(d, version) }}\n\
             fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {{ self.write(e, version) }}\n\
             }}",
            versions.min, versions.max
        );
        self.line(&text);
    }
}

/// The versions in which a field stands in line, not among the tagged ones.
fn plain_versions(field: &Field) -> Versions {
    if field.tag.is_none() || field.tagged.is_empty() {
        return field.versions;
    }
    if field.tagged.min <= field.versions.min {
        return Versions::NONE;
    }
    Versions {
        min: field.versions.min,
        max: field.tagged.min - 1,
    }
}

fn default_value(field: &Field) -> String {
    if field.is_option() && field.is_default_null() {
        return "None".into();
    }
    let text = field.default.as_deref().unwrap_or("");
    let value = match &field.kind {
        Type::Bool => (text == "true").to_string(),
        Type::Int8 | Type::Int16 | Type::Uint16 | Type::Int32 | Type::Int64 => number(text),
        Type::Float64 if text.is_empty() => "0.0".into(),
        Type::Float64 => format!("{text}f64"),
        Type::String => format!("Cow::Borrowed({text:?})"),
        Type::Bytes => "Cow::Borrowed(&[])".into(),
        Type::Records => "Records::default()".into(),
        Type::Uuid => "[0; 16]".into(),
        Type::Struct(name) => format!("{name}::default()"),
        Type::Array(_) => "Vec::new()".into(),
    };
    if field.is_option() {
        format!("Some({value})")
    } else {
        value
    }
}

fn number(text: &str) -> String {
    if text.is_empty() {
        "0".into()
    } else {
        text.to_owned()
    }
}

/// An expression that tells whether a field differs from its default.
fn is_not_default(field: &Field) -> String {
    let place = format!("self.{}", field.name);
    if field.is_option() {
        if field.is_default_null() {
            return format!("{place}.is_some()");
        }
        return match &field.kind {
            Type::Array(_) => format!("{place}.as_ref().is_none_or(|value| !value.is_empty())"),
            _ => format!("{place} != {}", default_value(field)),
        };
    }
    match &field.kind {
        Type::Array(_) | Type::Bytes => format!("!{place}.is_empty()"),
        Type::String if field.default.as_deref().unwrap_or("").is_empty() => {
            format!("!{place}.is_empty()")
        }
        Type::Bool if field.default.as_deref() == Some("true") => format!("!{place}"),
        Type::Bool => place,
        _ => format!("{place} != {}", default_value(field)),
    }
}
