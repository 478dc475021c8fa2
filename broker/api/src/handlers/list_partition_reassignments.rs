//! ListPartitionReassignments, version 0 (KIP-455).
//!
//! None is ever under way where a broker is alone (see AlterPartitionReassignments), whatever is asked for.

use millstream_protocol::messages::list_partition_reassignments_response::ListPartitionReassignmentsResponse;

use crate::Handled;
use crate::dispatch::Request;

pub(crate) fn handle(request: &Request<'_>) -> Handled {
    request
        .reply
        .answered(&ListPartitionReassignmentsResponse::default())
}
