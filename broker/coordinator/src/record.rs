//! The records of `__consumer_offsets`, in Kafka's format, so that Kafka's own tools read them.
//!
//! ```text
//!  key    int16 record type │ fields of the key
//!  value  int16 version     │ fields of the value        null value = deletion
//! ```
//!
//! | type | key | value, as written | as read |
//! |---|---|---|---|
//! | 0, 1 | OffsetCommitKey | OffsetCommitValue 4 (1 with an expiry time of its own) | 0–4 |
//! | 2 | GroupMetadataKey | GroupMetadataValue 4 | 0–4 |
//! | other | | | skipped and counted |

use std::borrow::Cow;

use bytes::Bytes;
use millstream_model::Offset;
use millstream_protocol::messages::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue,
};
use millstream_protocol::wire::{DecodeError, Decoder, Encoder, Message};

const OFFSET_COMMIT_LEGACY: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;

/// The version with an expiry time, which OffsetCommit 2–4 may ask for.
const OFFSET_COMMIT_VALUE_WITH_EXPIRY: i16 = 1;
const OFFSET_COMMIT_VALUE: i16 = 4;
const GROUP_METADATA_VALUE: i16 = 4;

/// A record to append to a partition of `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorRecord {
    /// Type and fields of what the record is about.
    pub key: Bytes,
    /// The new state, or `None` for its deletion.
    pub value: Option<Bytes>,
}

/// A record as it is read from the log.
#[derive(Clone, Debug)]
pub struct LoggedRecord {
    /// Where it is.
    pub offset: Offset,
    /// Its key; one without has an empty one.
    pub key: Bytes,
    /// Its value.
    pub value: Option<Bytes>,
}

impl LoggedRecord {
    /// As a record of our own was written.
    #[must_use]
    pub fn of(offset: Offset, record: &CoordinatorRecord) -> LoggedRecord {
        LoggedRecord {
            offset,
            key: record.key.clone(),
            value: record.value.clone(),
        }
    }

    pub(crate) fn change(&self) -> Result<Change<'_>, ReplayError> {
        change_of(self.offset, &self.key, self.value.as_ref())
    }
}

/// Why a record cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The key or the value is shorter than its leading number.
    #[error("record at offset {offset} ends inside its type or version")]
    Short {
        /// The record's offset.
        offset: i64,
    },
    /// A value version this release does not know.
    #[error(
        "record at offset {offset} has value version {version} of {name}, newest known is {newest}; a newer release wrote it"
    )]
    Version {
        /// The record's offset.
        offset: i64,
        /// The record's type.
        name: &'static str,
        /// The version found.
        version: i16,
        /// The newest version known.
        newest: i16,
    },
    /// The fields do not decode.
    #[error("record at offset {offset} does not decode: {source}")]
    Decode {
        /// The record's offset.
        offset: i64,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// A decoded record.
#[derive(Debug)]
pub(crate) enum Change<'a> {
    Offset {
        key: OffsetCommitKey<'a>,
        value: Option<OffsetCommitValue<'a>>,
    },
    Group {
        key: GroupMetadataKey<'a>,
        value: Option<GroupMetadataValue<'a>>,
    },
    /// Of a type this release does not keep.
    Unknown,
}

impl CoordinatorRecord {
    /// An offset, or its deletion.
    pub(crate) fn offset(key: &OffsetCommitKey<'_>, value: Option<&OffsetCommitValue<'_>>) -> Self {
        let value = value.map(|value| match value.expire_timestamp {
            -1 => encode(OFFSET_COMMIT_VALUE, OFFSET_COMMIT_VALUE, value),
            _ => encode(
                OFFSET_COMMIT_VALUE_WITH_EXPIRY,
                OFFSET_COMMIT_VALUE_WITH_EXPIRY,
                value,
            ),
        });
        CoordinatorRecord {
            key: encode(OFFSET_COMMIT, 0, key),
            value,
        }
    }

    /// A group's metadata, or its deletion.
    pub(crate) fn group(group_id: &str, value: Option<&GroupMetadataValue<'_>>) -> Self {
        let key = GroupMetadataKey {
            group: Cow::Borrowed(group_id),
        };
        CoordinatorRecord {
            key: encode(GROUP_METADATA, 0, &key),
            value: value.map(|value| encode(GROUP_METADATA_VALUE, GROUP_METADATA_VALUE, value)),
        }
    }

    /// Bytes of key and value, and the most that a batch adds to one record.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        const RECORD_OVERHEAD_MAX: usize = 21;
        RECORD_OVERHEAD_MAX + self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

fn encode<'a>(leading: i16, version: i16, message: &impl Message<'a>) -> Bytes {
    let mut encoder = Encoder::with_capacity(64);
    encoder.i16(leading);
    message
        .encode(&mut encoder, version)
        .expect("ids longer than the format allows are refused");
    encoder.into_parts().pop().unwrap_or_default()
}

/// What a record says.
pub(crate) fn change_of<'a>(
    offset: Offset,
    key: &'a Bytes,
    value: Option<&'a Bytes>,
) -> Result<Change<'a>, ReplayError> {
    let reader = Reader { offset: offset.0 };
    let (kind, key) = reader.leading(key)?;
    match kind {
        OFFSET_COMMIT_LEGACY | OFFSET_COMMIT => Ok(Change::Offset {
            key: reader.decode(key, 0)?,
            value: reader.value(value, "OffsetCommitValue", OFFSET_COMMIT_VALUE)?,
        }),
        GROUP_METADATA => Ok(Change::Group {
            key: reader.decode(key, 0)?,
            value: reader.value(value, "GroupMetadataValue", GROUP_METADATA_VALUE)?,
        }),
        _ => Ok(Change::Unknown),
    }
}

/// Reads the parts of the record at an offset.
struct Reader {
    offset: i64,
}

impl Reader {
    /// The number that leads, and what follows it.
    fn leading<'a>(&self, bytes: &'a Bytes) -> Result<(i16, Decoder<'a>), ReplayError> {
        let mut decoder = Decoder::new(bytes);
        match decoder.i16() {
            Ok(number) => Ok((number, decoder)),
            Err(_) => Err(ReplayError::Short {
                offset: self.offset,
            }),
        }
    }

    fn value<'a, M: Message<'a>>(
        &self,
        value: Option<&'a Bytes>,
        name: &'static str,
        newest: i16,
    ) -> Result<Option<M>, ReplayError> {
        let Some(value) = value else {
            return Ok(None);
        };
        let (version, fields) = self.leading(value)?;
        if !(0..=newest).contains(&version) {
            let offset = self.offset;
            return Err(ReplayError::Version {
                offset,
                name,
                version,
                newest,
            });
        }
        self.decode(fields, version).map(Some)
    }

    fn decode<'a, M: Message<'a>>(
        &self,
        mut fields: Decoder<'a>,
        version: i16,
    ) -> Result<M, ReplayError> {
        M::decode(&mut fields, version).map_err(|source| ReplayError::Decode {
            offset: self.offset,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use millstream_protocol::messages::group_metadata_value::MemberMetadata;

    use super::*;

    const TIME: i64 = 1_700_000_000_000;

    fn read(record: &CoordinatorRecord) -> String {
        let change = change_of(Offset(0), &record.key, record.value.as_ref());
        format!("{:?}", change.unwrap())
    }

    #[test]
    fn an_offset_in_bytes() {
        let key = OffsetCommitKey {
            group: "g".into(),
            topic: "t".into(),
            partition: 3,
        };
        let mut value = OffsetCommitValue {
            offset: 42,
            leader_epoch: 7,
            metadata: "note".into(),
            commit_timestamp: TIME,
            expire_timestamp: -1,
            topic_id: *b"0123456789abcdef",
        };
        let record = CoordinatorRecord::offset(&key, Some(&value));
        assert_eq!(
            &record.key[..],
            b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x03"
        );
        let bytes = b"\x00\x04\0\0\0\0\0\0\0\x2a\0\0\0\x07\x05note\0\0\x01\x8b\xcf\xe5\x68\0\
                      \x01\x00\x100123456789abcdef";
        assert_eq!(record.value.as_deref(), Some(&bytes[..]));
        let expected = Change::Offset {
            key: key.clone(),
            value: Some(value.clone()),
        };
        assert_eq!(read(&record), format!("{expected:?}"));

        value.expire_timestamp = TIME + 60_000;
        let record = CoordinatorRecord::offset(&key, Some(&value));
        let bytes = b"\x00\x01\0\0\0\0\0\0\0\x2a\x00\x04note\0\0\x01\x8b\xcf\xe5\x68\0\
                      \0\0\x01\x8b\xcf\xe6\x52\x60";
        assert_eq!(record.value.as_deref(), Some(&bytes[..]));
        assert_eq!(CoordinatorRecord::offset(&key, None).value, None);
    }

    #[test]
    fn a_group_in_bytes() {
        let member = MemberMetadata {
            member_id: "m".into(),
            group_instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout: 20_000,
            session_timeout: 10_000,
            subscription: b"sub".into(),
            assignment: b"as".into(),
        };
        let value = GroupMetadataValue {
            protocol_type: "consumer".into(),
            generation: 5,
            protocol: Some("range".into()),
            leader: Some("m".into()),
            current_state_timestamp: TIME,
            members: vec![member],
        };
        let record = CoordinatorRecord::group("g", Some(&value));
        assert_eq!(&record.key[..], b"\x00\x02\x00\x01g");
        let bytes = b"\x00\x04\x09consumer\0\0\0\x05\x06range\x02m\0\0\x01\x8b\xcf\xe5\x68\0\
                      \x02\x02m\x02i\x02c\x03/h\0\0\x4e\x20\0\0\x27\x10\x04sub\x03as\0\0";
        assert_eq!(record.value.as_deref(), Some(&bytes[..]));
        let key = GroupMetadataKey { group: "g".into() };
        let expected = Change::Group {
            key,
            value: Some(value),
        };
        assert_eq!(read(&record), format!("{expected:?}"));
        assert_eq!(CoordinatorRecord::group("g", None).value, None);
    }
}
