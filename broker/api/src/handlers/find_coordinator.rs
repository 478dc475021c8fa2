//! FindCoordinator, versions 0 – 6.
//!
//! Which broker coordinates a group: the leader of the group's partition of `__consumer_offsets`,
//! here always this one. The first call creates that topic and is answered COORDINATOR_NOT_AVAILABLE,
//! which clients retry. 1: key types; 4: several keys (KIP-699); 6: share groups (KIP-932).
//!
//! Transactions and share groups are not there yet: INVALID_REQUEST with a message that says so.

use std::borrow::Cow;

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
    let found = find(broker, context, body.key_type);
    let (node_id, host, port) = match found {
        Ok(()) => {
            let advertised = &context.client.advertised;
            let host = Cow::Borrowed(advertised.host.as_str());
            (broker.config.node_id.0, host, i32::from(advertised.port))
        }
        Err(_) => (-1, Cow::Borrowed(""), -1),
    };
    let code = found.err().map_or(ErrorCode::None, |(code, _)| code);
    let message = found.err().map_or("", |(_, message)| message);
    if request.reply.version >= 4 {
        let coordinators = body.coordinator_keys.iter().map(|key| Coordinator {
            key: Cow::Borrowed(key.as_ref()),
            node_id,
            host: host.clone(),
            port,
            error_code: code.code(),
            error_message: Some(Cow::Borrowed(message)),
        });
        return request.reply.answered(&FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            ..FindCoordinatorResponse::default()
        });
    }
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

fn find(
    broker: &Broker,
    context: &mut Context<'_>,
    key_type: i8,
) -> Result<(), (ErrorCode, &'static str)> {
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
