//! InitProducerId, versions 0 – 5.
//!
//! Hands out a producer id with epoch 0 for idempotence (KIP-98): a new one each time, whatever id the
//! request carries. Ids come from blocks that the metadata log hands out, so none is given twice.
//! Transactions are not there yet: a transactional id is INVALID_REQUEST.

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use millstream_protocol::messages::init_producer_id_response::InitProducerIdResponse;

use crate::dispatch::Request;
use crate::handlers::ParkedProposal;
use crate::{Broker, Context, Handled, Proposal};

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &InitProducerIdRequest<'_>,
) -> Handled {
    if body.transactional_id.is_some() {
        tracing::debug!(
            client_id = request.client_id,
            "transactions are not available yet: use a producer without transactional.id"
        );
        return request.reply.answered(&refused(ErrorCode::InvalidRequest));
    }
    match broker.take_producer_id() {
        Some(id) => request.reply.answered(&granted(id)),
        None => ParkedProposal::propose(context, request.reply, |token| Proposal::ProducerId {
            token,
        }),
    }
}

/// The answer with a fresh id.
pub(crate) fn granted(producer_id: i64) -> InitProducerIdResponse {
    InitProducerIdResponse {
        producer_id,
        producer_epoch: 0,
        ..InitProducerIdResponse::default()
    }
}

/// The answer without one.
pub(crate) fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: code.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    }
}
