//! AlterClientQuotas, versions 0 – 1 (KIP-546).
//!
//! Quotas of users, client ids and addresses are stored in the metadata, each entity of a request on its
//! own. Byte rates of producers and consumers are enforced; the other keys are kept for whoever asks. 1:
//! flexible.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millstream_metadata::{QuotaAlteration, QuotaAlterationResult};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntryData as Entry,
};
use millstream_protocol::messages::alter_client_quotas_response::{
    AlterClientQuotasResponse, EntityData, EntryData,
};

use crate::dispatch::Request;
use crate::handlers::ParkedProposal;
use crate::{Context, Handled, Proposal};

pub(crate) fn handle(
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &AlterClientQuotasRequest<'_>,
) -> Handled {
    let alterations = body.entries.iter().map(wanted).collect();
    let validate_only = body.validate_only;
    ParkedProposal::propose(context, request.reply, |token| {
        Proposal::AlterClientQuotas {
            token,
            alterations,
            validate_only,
        }
    })
}

/// Of a type that an entity has twice the last one counts.
fn wanted(entry: &Entry<'_>) -> QuotaAlteration {
    let entity = entry.entity.iter().map(|part| {
        let name = part.entity_name.as_ref().map(|name| name.to_string());
        (part.entity_type.to_string(), name)
    });
    let operations = entry.ops.iter().map(|operation| {
        let value = (!operation.remove).then_some(operation.value);
        (operation.key.to_string(), value)
    });
    QuotaAlteration {
        entity: entity.collect(),
        operations: operations.collect(),
    }
}

/// The answer once the metadata log has decided.
pub(crate) fn answer(
    altered: Vec<QuotaAlterationResult>,
    failed: Option<ErrorCode>,
) -> AlterClientQuotasResponse<'static> {
    let entries = altered.into_iter().map(|altered| {
        let error = altered.result.err();
        let code = error.as_ref().map(|error| error.code()).or(failed);
        EntryData {
            error_code: code.unwrap_or(ErrorCode::None).code(),
            error_message: error.map(|error| Cow::Owned(error.to_string())),
            entity: entity(altered.entity),
        }
    });
    AlterClientQuotasResponse {
        entries: entries.collect(),
        ..AlterClientQuotasResponse::default()
    }
}

fn entity(entity: BTreeMap<String, Option<String>>) -> Vec<EntityData<'static>> {
    let parts = entity.into_iter();
    parts
        .map(|(entity_type, name)| EntityData {
            entity_type: Cow::Owned(entity_type),
            entity_name: name.map(Cow::Owned),
        })
        .collect()
}
