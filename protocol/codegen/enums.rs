//! Writes what lists all messages: re-exports, the requests' keys, the dynamic codec, the errors.

use std::fmt::Write;

use super::emit::lifetime_of;
use super::schema::{Kind, Message, snake_case};

/// Re-exports, the tie from a request to its response, and the codec by name.
pub fn emit_exports(out: &mut String, messages: &[Message]) {
    for message in messages {
        let module = snake_case(&message.name);
        line(
            out,
            &format!("#[doc(inline)] pub use {module}::{};", message.name),
        );
    }
    for request in messages
        .iter()
        .filter(|message| message.kind == Kind::Request)
    {
        let key = key_name(request);
        let response_name = format!("{key}Response");
        let Some(response) = messages
            .iter()
            .find(|message| message.name == response_name)
        else {
            panic!("{} has no response", request.name);
        };
        let generics = lifetime_of(request, "'a");
        line(
            out,
            &format!(
                "impl{generics} crate::Request for {}{generics} {{\n\
                 const API_KEY: crate::ApiKey = crate::ApiKey::{key};\n\
                 type Response<'r> = {response_name}{};\n}}",
                request.name,
                lifetime_of(response, "'r"),
            ),
        );
    }
    line(out, "/// Every message with its first and last version.");
    line(out, "pub(crate) const ALL: &[(&str, i16, i16)] = &[");
    for message in messages {
        let versions = message.versions;
        line(
            out,
            &format!(
                "(\"{}\", {}, {}),",
                message.name, versions.min, versions.max
            ),
        );
    }
    line(out, "];");
    line(out, "/// Does `work` on the message of this name.");
    line(
        out,
        "pub(crate) fn with_type<'a, W: crate::dynamic::Work<'a>>(name: &str, work: W) \
         -> Option<W::Output> {\n\
         Some(match name {",
    );
    for message in messages {
        let name = &message.name;
        line(out, &format!("\"{name}\" => work.on::<{name}>(),"));
    }
    line(out, "_ => return None,\n}) }");
}

fn key_name(request: &Message) -> &str {
    request
        .name
        .strip_suffix("Request")
        .expect("a request's name ends so")
}

/// The enumeration of requests.
pub fn emit_api_keys(out: &mut String, messages: &[Message]) {
    let mut requests: Vec<&Message> = messages
        .iter()
        .filter(|message| message.kind == Kind::Request)
        .collect();
    requests.sort_by_key(|request| request.api_key);
    let key = |request: &Message| request.api_key.expect("a request has a key");
    line(out, "/// A request of the protocol by its key.");
    line(
        out,
        "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]",
    );
    line(out, "#[repr(i16)]\npub enum ApiKey {");
    for request in &requests {
        let name = key_name(request);
        line(out, &format!("/// {name}.\n{name} = {},", key(request)));
    }
    line(out, "}\nimpl ApiKey {");
    line(
        out,
        "/// Every request, by rising key.\npub const ALL: &'static [ApiKey] = &[",
    );
    for request in &requests {
        line(out, &format!("ApiKey::{},", key_name(request)));
    }
    line(out, "];");
    line(out, "/// The request of this key.\n#[must_use]");
    line(
        out,
        "pub fn from_i16(key: i16) -> Option<ApiKey> { Some(match key {",
    );
    for request in &requests {
        line(
            out,
            &format!("{} => ApiKey::{},", key(request), key_name(request)),
        );
    }
    line(out, "_ => return None, }) }");
    line(out, "/// Its name, as Kafka writes it.\n#[must_use]");
    line(out, "pub fn name(self) -> &'static str { match self {");
    for request in &requests {
        let name = key_name(request);
        line(out, &format!("ApiKey::{name} => \"{name}\","));
    }
    line(out, "} }");
    line(
        out,
        "const fn ranges(self) -> (i16, i16, i16) { match self {",
    );
    for request in &requests {
        let flexible = match request.flexible {
            none if none.is_empty() => i16::MAX,
            some => some.min,
        };
        let (min, max) = (request.versions.min, request.versions.max);
        line(
            out,
            &format!(
                "ApiKey::{} => ({min}, {max}, {flexible}),",
                key_name(request)
            ),
        );
    }
    line(out, "} }\n}");
}

/// The enumeration of error codes.
pub fn emit_errors(out: &mut String, table: &str) {
    let rows: Vec<(i16, &str, bool)> = table
        .lines()
        .filter(|row| !row.starts_with('#') && !row.trim().is_empty())
        .map(|row| {
            let mut cells = row.split('|').map(str::trim);
            let code = cells
                .next()
                .and_then(|cell| cell.parse().ok())
                .expect("an error has a code");
            let name = cells.next().expect("an error has a name");
            (code, name, cells.next() == Some("true"))
        })
        .collect();
    line(out, "/// An error of the protocol.");
    line(
        out,
        "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]",
    );
    line(out, "#[repr(i16)]\npub enum ErrorCode {");
    for (code, name, _) in &rows {
        line(out, &format!("/// {name}.\n{} = {code},", camel_case(name)));
    }
    line(out, "}\nimpl ErrorCode {");
    line(out, "/// The error of this code.\n#[must_use]");
    line(
        out,
        "pub fn from_code(code: i16) -> Option<ErrorCode> { Some(match code {",
    );
    for (code, name, _) in &rows {
        line(out, &format!("{code} => ErrorCode::{},", camel_case(name)));
    }
    line(out, "_ => return None, }) }");
    line(out, "/// Its name, as Kafka writes it.\n#[must_use]");
    line(out, "pub fn name(self) -> &'static str { match self {");
    for (_, name, _) in &rows {
        line(
            out,
            &format!("ErrorCode::{} => \"{name}\",", camel_case(name)),
        );
    }
    line(out, "} }");
    line(
        out,
        "/// Whether a client may send the request again.\n#[must_use]",
    );
    line(out, "pub fn is_retriable(self) -> bool { matches!(self,");
    let retriable: Vec<String> = rows
        .iter()
        .filter(|(_, _, is_retriable)| *is_retriable)
        .map(|(_, name, _)| format!("ErrorCode::{}", camel_case(name)))
        .collect();
    line(out, &retriable.join(" | "));
    line(out, ") }\n}");
}

fn camel_case(name: &str) -> String {
    let word = |word: &str| word[..1].to_owned() + &word[1..].to_ascii_lowercase();
    name.split('_').map(word).collect()
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes all");
}
