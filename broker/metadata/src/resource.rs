//! What dynamic configs belong to.

/// A kind of resource with configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic,
    /// A broker by its node id, or all brokers by the empty name.
    Broker,
    /// The loggers of a broker, by its node id. Nothing of them is stored.
    BrokerLogger,
    /// A client metrics subscription, by name.
    ClientMetrics,
    /// A group, by its id.
    Group,
}

impl ConfigResource {
    /// All kinds.
    pub const ALL: [ConfigResource; 5] = [
        ConfigResource::Topic,
        ConfigResource::Broker,
        ConfigResource::BrokerLogger,
        ConfigResource::ClientMetrics,
        ConfigResource::Group,
    ];

    /// The number of the wire and of the metadata log.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            ConfigResource::Topic => 2,
            ConfigResource::Broker => 4,
            ConfigResource::BrokerLogger => 8,
            ConfigResource::ClientMetrics => 16,
            ConfigResource::Group => 32,
        }
    }

    /// The resource of this number.
    #[must_use]
    pub fn from_code(code: i32) -> Option<ConfigResource> {
        let mut all = ConfigResource::ALL.into_iter();
        all.find(|resource| i32::from(resource.code()) == code)
    }
}
