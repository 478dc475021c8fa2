//! Bytes and ids as text.

use serde_json::{Map, Value};

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0u32, |group, &byte| group << 8 | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for position in 0..=chunk.len() {
            let index = (group >> (18 - 6 * position)) & 63;
            text.push(char::from(alphabet[index as usize]));
        }
    }
    text
}

/// Base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = encode(bytes, STANDARD);
    text.extend(std::iter::repeat_n('=', (3 - bytes.len() % 3) % 3));
    text
}

/// A topic id as Kafka's tools write it: 22 characters, URL-safe, without padding.
pub(crate) fn topic_id(id: &[u8; 16]) -> String {
    encode(id, URL_SAFE)
}

/// Puts bytes into a JSON object: as `name` where they are text or absent, as `name_base64` where they are not text.
pub fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => object.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => object.insert(name.to_owned(), Value::from(text)),
        Some(Err(_)) => object.insert(
            format!("{name}_base64"),
            Value::from(base64(bytes.unwrap_or_default())),
        ),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_vectors_of_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in vectors {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(topic_id(&[0xff; 16]), "_____________________w");
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        let mut object = Map::new();
        put_bytes(&mut object, "key", None);
        put_bytes(&mut object, "value", Some(&[0xff]));
        assert_eq!(
            Value::from(object).to_string(),
            r#"{"key":null,"value_base64":"/w=="}"#
        );
    }
}
