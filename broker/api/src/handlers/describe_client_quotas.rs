//! DescribeClientQuotas, versions 0 – 1 (KIP-546).
//!
//! The quotas that are stored and match the request's components, each a type of entity with a name, its
//! default, or any of these; strict: entities of just these types. 1: flexible.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millstream_metadata::{QuotaEntity, QuotaEntityType, QuotaFilter, QuotaMatch, Quotas};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::describe_client_quotas_request::{
    ComponentData, DescribeClientQuotasRequest,
};
use millstream_protocol::messages::describe_client_quotas_response::{
    DescribeClientQuotasResponse, EntityData, EntryData, ValueData,
};

use crate::dispatch::Request;
use crate::{Broker, Handled};

const MATCH_EXACT: i8 = 0;
const MATCH_DEFAULT: i8 = 1;
const MATCH_ANY: i8 = 2;

pub(crate) fn handle(
    broker: &Broker,
    request: &Request<'_>,
    body: &DescribeClientQuotasRequest<'_>,
) -> Handled {
    let filter = match filter(body) {
        Ok(filter) => filter,
        Err((code, message)) => {
            return request.reply.answered(&DescribeClientQuotasResponse {
                error_code: code.code(),
                error_message: Some(Cow::Owned(message)),
                entries: None,
                ..DescribeClientQuotasResponse::default()
            });
        }
    };
    let view = broker.view();
    let quotas = view.image.client_quotas().iter();
    let entries = quotas.filter(|(entity, _)| filter.matches(entity));
    request.reply.answered(&DescribeClientQuotasResponse {
        entries: Some(entries.map(entry).collect()),
        ..DescribeClientQuotasResponse::default()
    })
}

fn entry<'a>((entity, quotas): (&'a QuotaEntity, &'a Quotas)) -> EntryData<'a> {
    let entity = entity.0.iter().map(|(one, name)| EntityData {
        entity_type: Cow::Borrowed(one.name()),
        entity_name: name.as_deref().map(Cow::Borrowed),
    });
    let values = quotas.iter().map(|(key, value)| ValueData {
        key: Cow::Borrowed(key),
        value: value.get(),
    });
    EntryData {
        entity: entity.collect(),
        values: values.collect(),
    }
}

/// A code and what is wrong.
type Refusal = (ErrorCode, String);

fn invalid(message: impl Into<String>) -> Refusal {
    (ErrorCode::InvalidRequest, message.into())
}

fn filter(body: &DescribeClientQuotasRequest<'_>) -> Result<QuotaFilter, Refusal> {
    let mut components = BTreeMap::new();
    for component in &body.components {
        let name = &*component.entity_type;
        if name.is_empty() {
            return Err(invalid("invalid empty entity type"));
        }
        let unknown = || {
            let message = format!("unsupported entity type {name}");
            (ErrorCode::UnsupportedVersion, message)
        };
        let one = QuotaEntityType::from_name(name).ok_or_else(unknown)?;
        if components.insert(one, wanted(component)?).is_some() {
            let message = format!("entity type {name} cannot appear more than once in the filter");
            return Err(invalid(message));
        }
    }
    if components.contains_key(&QuotaEntityType::Ip) && components.len() > 1 {
        return Err(invalid(
            "an ip filter component cannot be used with one of users or client ids",
        ));
    }
    Ok(QuotaFilter {
        components,
        is_strict: body.strict,
    })
}

fn wanted(component: &ComponentData<'_>) -> Result<QuotaMatch, Refusal> {
    match (component.match_type, &component.match_) {
        (MATCH_EXACT, Some(name)) => Ok(QuotaMatch::Exact(Some(name.to_string()))),
        (MATCH_EXACT, None) => Err(invalid("an exact match needs a name")),
        (MATCH_DEFAULT, None) => Ok(QuotaMatch::Exact(None)),
        (MATCH_ANY, None) => Ok(QuotaMatch::Any),
        (MATCH_DEFAULT | MATCH_ANY, Some(_)) => Err(invalid("only an exact match has a name")),
        (unknown, _) => Err(invalid(format!("unknown match type {unknown}"))),
    }
}
