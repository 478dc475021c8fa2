//! How an answer is addressed: what of the request must be remembered until then.

use millstream_protocol::ApiKey;
use millstream_protocol::frame::{self, Frame};
use millstream_protocol::wire::Message;

use crate::Handled;
use crate::context::CloseReason;

/// The request an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's kind.
    pub api_key: ApiKey,
    /// Its version, in which the answer is encoded.
    pub version: i16,
    /// The number the client finds its answer by.
    pub correlation_id: i32,
}

impl Reply {
    /// Encodes the answer.
    pub fn frame<'m>(&self, answer: &impl Message<'m>) -> Result<Frame, CloseReason> {
        frame::encode_response(self.correlation_id, self.api_key, self.version, answer).map_err(
            |cause| CloseReason::Unencodable {
                request: self.api_key.name(),
                cause,
            },
        )
    }

    /// Encodes an answer that is ready.
    pub fn answered<'m>(&self, answer: &impl Message<'m>) -> Handled {
        match self.frame(answer) {
            Ok(frame) => Handled::Answered(frame),
            Err(reason) => Handled::Close(reason),
        }
    }
}
