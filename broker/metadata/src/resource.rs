//! What dynamic configs belong to.

/// A kind of resource with configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic,
    /// A broker by its node id, or all brokers by the empty name.
    Broker,
}

impl ConfigResource {
    /// The number of the wire and of the metadata log.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            ConfigResource::Topic => 2,
            ConfigResource::Broker => 4,
        }
    }

    /// The resource of this number.
    #[must_use]
    pub fn from_code(code: i32) -> Option<ConfigResource> {
        match code {
            2 => Some(ConfigResource::Topic),
            4 => Some(ConfigResource::Broker),
            _ => None,
        }
    }
}
