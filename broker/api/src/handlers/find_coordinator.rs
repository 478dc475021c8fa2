//! FindCoordinator, versions 0 – 6.
//!
//! Which broker coordinates a group: the leader of the group's partition of `__consumer_offsets`,
//! here always this one. The first call creates that topic and is answered COORDINATOR_NOT_AVAILABLE,
//! which clients retry, as long as the partition's log is offline too. 1: key types; 4: several keys (KIP-699); 6: share groups (KIP-932).
//!
//! Transactions and share groups are not there yet: INVALID_REQUEST with a message that says so.

use std::borrow::Cow;

use millstream_coordinator::shard_of;
use millstream_metadata::OFFSETS_TOPIC;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use millstream_protocol::messages::find_coordinator_response::{
    Coordinator, FindCoordinatorResponse,
};

use crate::dispatch::Request;
use crate::{Broker, Context, Effect, Handled, Proposal};

const KEY_GROUP: i8 = 0;
const KEY_TRANSACTION: i8 = 1;
const KEY_SHARE: i8 = 2;

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &FindCoordinatorRequest<'_>,
) -> Handled {
    let found = check_available(broker, context, body.key_type);
    let advertised = &context.client.advertised;
    let answer = |key: &str| {
        let found = found.and_then(|()| check_served(broker, key));
        let (node_id, host, port) = match found {
            Ok(()) => {
                let port = i32::from(advertised.port);
                (broker.config.node_id.0, advertised.host.as_str(), port)
            }
            Err(_) => (-1, "", -1),
        };
        let (code, message) = found.err().unwrap_or((ErrorCode::None, ""));
        (node_id, Cow::Borrowed(host), port, code, message)
    };
    if request.reply.version >= 4 {
        let coordinators = body.coordinator_keys.iter().map(|key| {
            let (node_id, host, port, code, message) = answer(key);
            Coordinator {
                key: Cow::Borrowed(key.as_ref()),
                node_id,
                host,
                port,
                error_code: code.code(),
                error_message: Some(Cow::Borrowed(message)),
            }
        });
        return request.reply.answered(&FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            ..FindCoordinatorResponse::default()
        });
    }
    let (node_id, host, port, code, message) = answer(&body.key);
    let message = if code == ErrorCode::None {
        "NONE"
    } else {
        message
    };
    request.reply.answered(&FindCoordinatorResponse {
        error_code: code.code(),
        error_message: Some(Cow::Borrowed(message)),
        node_id,
        host,
        port,
        ..FindCoordinatorResponse::default()
    })
}

/// The group's partition of `__consumer_offsets` must be one that takes requests.
fn check_served(broker: &Broker, group_id: &str) -> Result<(), Unavailable> {
    let view = broker.view();
    let offsets = view.topic(OFFSETS_TOPIC);
    let partition = offsets.and_then(|topic| {
        let count = i32::try_from(topic.partitions.len()).ok()?;
        topic.partition(shard_of(group_id, count))
    });
    match partition {
        Some(partition) if !partition.is_offline() => Ok(()),
        _ => Err((ErrorCode::CoordinatorNotAvailable, "")),
    }
}

type Unavailable = (ErrorCode, &'static str);

fn check_available(
    broker: &Broker,
    context: &mut Context<'_>,
    key_type: i8,
) -> Result<(), Unavailable> {
    match key_type {
        KEY_GROUP => {}
        KEY_TRANSACTION => {
            let message =
                "transactions are not available yet: use a producer without transactional.id";
            return Err((ErrorCode::InvalidRequest, message));
        }
        KEY_SHARE => {
            let message = "share groups are not available yet: use a consumer group";
            return Err((ErrorCode::InvalidRequest, message));
        }
        _ => return Err((ErrorCode::InvalidRequest, "unknown coordinator key type")),
    }
    if broker.view().topic(OFFSETS_TOPIC).is_none() {
        let names = vec![OFFSETS_TOPIC.to_owned()];
        context
            .effects
            .push(Effect::Propose(Proposal::AutoCreate { names }));
        return Err((ErrorCode::CoordinatorNotAvailable, ""));
    }
    Ok(())
}
