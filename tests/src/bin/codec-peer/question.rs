//! Questions and answers as they stand on the pipe.

use bytes::{Buf, BufMut, Bytes};

/// What the other side wants to know.
pub struct Question {
    pub kind: u8,
    pub name: String,
    pub version: i16,
    pub other: i16,
    pub seed: i64,
    pub count: usize,
    pub bodies: Vec<Bytes>,
}

impl Question {
    /// Reads a question; `None` when it is not one. `count` is the number of bodies, or of values wanted
    /// where there are none.
    pub fn read(frame: &Bytes) -> Option<Question> {
        let mut rest = frame.clone();
        let kind = rest.try_get_u8().ok()?;
        let length = usize::from(rest.try_get_u16().ok()?);
        let name = String::from_utf8(split(&mut rest, length)?.to_vec()).ok()?;
        let version = rest.try_get_i16().ok()?;
        let other = rest.try_get_i16().ok()?;
        let seed = rest.try_get_i64().ok()?;
        let count = usize::try_from(rest.try_get_i32().ok()?).ok()?;
        let mut bodies = Vec::new();
        while !rest.is_empty() {
            let length = usize::try_from(rest.try_get_i32().ok()?).ok()?;
            bodies.push(split(&mut rest, length)?);
        }
        Some(Question {
            kind,
            name,
            version,
            other,
            seed,
            count,
            bodies,
        })
    }
}

fn split(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

/// One part of an answer.
pub enum Item {
    Value(Bytes),
    Refusal(String),
}

impl Item {
    pub fn refusal(reason: impl ToString) -> Item {
        Item::Refusal(reason.to_string())
    }
}

/// What we answer.
pub struct Answer {
    items: Vec<Item>,
}

impl Answer {
    pub fn of(items: impl IntoIterator<Item = Item>) -> Answer {
        Answer {
            items: items.into_iter().collect(),
        }
    }

    /// The answer with its length.
    pub fn into_frame(self) -> Vec<u8> {
        let mut frame = vec![0; 4];
        frame.put_i32(self.items.len() as i32);
        for item in self.items {
            let (status, bytes) = match item {
                Item::Value(bytes) => (0, bytes),
                Item::Refusal(reason) => (1, Bytes::from(reason)),
            };
            frame.put_u8(status);
            frame.put_i32(bytes.len() as i32);
            frame.put_slice(&bytes);
        }
        let length = frame.len() as u32 - 4;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    }
}
