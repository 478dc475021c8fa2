//! What a handler is told beside the request.

use millstream_model::{RequestToken, TopicId};

/// Who asks, and in which version.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// The request, for the answer to find its way.
    pub token: RequestToken,
    /// The client's id; empty when it sent none.
    pub client_id: &'a str,
    /// The client's address as Kafka shows it, `/127.0.0.1`.
    pub client_host: &'a str,
    /// The version of the request.
    pub api_version: i16,
}

/// The topics that exist now.
pub trait TopicLookup {
    /// The id of a topic and how many partitions it has.
    fn topic(&self, name: &str) -> Option<(TopicId, i32)>;
    /// The name of a topic.
    fn topic_name(&self, id: TopicId) -> Option<&str>;
}
