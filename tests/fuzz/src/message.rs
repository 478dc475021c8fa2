//! What must hold for every message.

use bytes::Bytes;
use millstream_protocol::dynamic::{ReencodeError, Reencoded};

/// A body is refused, or it is written again; what is written reads as itself, to its last byte.
pub fn check(body: &Bytes, again: impl Fn(&Bytes) -> Result<Reencoded, ReencodeError>) {
    match again(body) {
        Ok(first) => {
            assert!(
                first.trailing <= body.len(),
                "more bytes left than there were"
            );
            let second = again(&first.body).expect("what was written can be read");
            assert_eq!(second.trailing, 0, "bytes are left of what was written");
            assert!(
                second.body == first.body,
                "it is not written the same again"
            );
        }
        Err(ReencodeError::Decode(_)) => {}
        Err(ReencodeError::Encode(error)) => panic!("was read but cannot be written: {error}"),
    }
}
