//! Record batches inside a message: shared, never copied.

use bytes::{Bytes, BytesMut};

/// The bytes of a `records` field. Decoded, they are one slice of the frame; to be sent, they may be
/// several pieces that stand one after another on the wire.
#[derive(Clone, Debug)]
pub enum Records {
    /// One piece.
    Whole(Bytes),
    /// Pieces in order.
    Parts(Vec<Bytes>),
}

impl Default for Records {
    fn default() -> Self {
        Records::Whole(Bytes::new())
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Records::Whole(bytes)
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(parts: Vec<Bytes>) -> Self {
        Records::Parts(parts)
    }
}

impl Records {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts().iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts().iter().all(Bytes::is_empty)
    }

    /// The pieces in order.
    #[must_use]
    pub fn parts(&self) -> &[Bytes] {
        match self {
            Records::Whole(bytes) => std::slice::from_ref(bytes),
            Records::Parts(parts) => parts,
        }
    }

    /// All bytes in one piece; copies only where there are several.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.parts() {
            [one] => one.clone(),
            parts => {
                let mut whole = BytesMut::with_capacity(self.len());
                for part in parts {
                    whole.extend_from_slice(part);
                }
                whole.freeze()
            }
        }
    }
}
