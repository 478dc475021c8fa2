//! AlterPartitionReassignments, versions 0 – 1 (KIP-455).
//!
//! A partition of a broker that is alone can be asked for where it is, and that is done at once; there is
//! never anything to cancel. 1: the client may forbid other replication factors (KIP-860).

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition,
};
use millstream_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};

use crate::dispatch::Request;
use crate::{Broker, Handled};

pub(crate) fn handle(
    broker: &Broker,
    request: &Request<'_>,
    body: &AlterPartitionReassignmentsRequest<'_>,
) -> Handled {
    let view = broker.view();
    let may_change_factor = body.allow_replication_factor_change;
    let responses = body.topics.iter().map(|topic| {
        let check = |partition: &ReassignablePartition| {
            let index = partition.partition_index;
            let replicas = partition.replicas.as_deref();
            let checked =
                view.image
                    .check_reassignment(&topic.name, index, replicas, may_change_factor);
            let error = checked.err();
            let code = error.as_ref().map_or(ErrorCode::None, |error| error.code());
            ReassignablePartitionResponse {
                partition_index: index,
                error_code: code.code(),
                error_message: error.map(|error| Cow::Owned(error.to_string())),
            }
        };
        ReassignableTopicResponse {
            name: Cow::Borrowed(&*topic.name),
            partitions: topic.partitions.iter().map(check).collect(),
        }
    });
    request
        .reply
        .answered(&AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: may_change_factor,
            responses: responses.collect(),
            ..AlterPartitionReassignmentsResponse::default()
        })
}
