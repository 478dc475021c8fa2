//! AlterConfigs, versions 0 – 2, and IncrementalAlterConfigs, versions 0 – 1 (KIP-339).
//!
//! The controller decides; the answer comes when its records are durable and what they change is in
//! force, so that the next request meets the new configs.

use std::borrow::Cow;

use millstream_metadata::{
    ConfigAlteration, ConfigChange, ConfigOperation, ConfigsToAlter, ResourceChange,
};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::alter_configs_request::AlterConfigsRequest;
use millstream_protocol::messages::alter_configs_response::{
    AlterConfigsResourceResponse, AlterConfigsResponse,
};
use millstream_protocol::messages::incremental_alter_configs_request::IncrementalAlterConfigsRequest;
use millstream_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse as IncrementalResourceResponse, IncrementalAlterConfigsResponse,
};

use crate::dispatch::Request;
use crate::handlers::ParkedProposal;
use crate::{Context, Handled, Proposal};

pub(crate) fn replace(
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &AlterConfigsRequest<'_>,
) -> Handled {
    let resources = body.resources.iter().map(|resource| {
        let changes = resource.configs.iter().map(|config| ConfigChange {
            name: config.name.to_string(),
            operation: ConfigOperation::Set as i8,
            value: owned(&config.value),
        });
        ResourceChange {
            resource_type: resource.resource_type,
            name: resource.resource_name.to_string(),
            changes: changes.collect(),
        }
    });
    let asked = ConfigsToAlter {
        resources: resources.collect(),
        is_incremental: false,
        validate_only: body.validate_only,
    };
    propose(context, request, asked)
}

pub(crate) fn change(
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &IncrementalAlterConfigsRequest<'_>,
) -> Handled {
    let resources = body.resources.iter().map(|resource| {
        let changes = resource.configs.iter().map(|config| ConfigChange {
            name: config.name.to_string(),
            operation: config.config_operation,
            value: owned(&config.value),
        });
        ResourceChange {
            resource_type: resource.resource_type,
            name: resource.resource_name.to_string(),
            changes: changes.collect(),
        }
    });
    let asked = ConfigsToAlter {
        resources: resources.collect(),
        is_incremental: true,
        validate_only: body.validate_only,
    };
    propose(context, request, asked)
}

fn owned(value: &Option<Cow<'_, str>>) -> Option<String> {
    value.as_ref().map(|value| value.to_string())
}

fn propose(context: &mut Context<'_>, request: &Request<'_>, asked: ConfigsToAlter) -> Handled {
    ParkedProposal::propose(context, request.reply, |token| Proposal::AlterConfigs {
        token,
        asked,
    })
}

/// What is answered for one resource: its code and message, type and name. When the metadata log could not
/// take the change, all of them fail alike.
type Answered = (i16, Option<String>, i8, String);

fn answered(altered: Vec<ConfigAlteration>, failed: Option<ErrorCode>) -> Vec<Answered> {
    let one = |alteration: ConfigAlteration| {
        let (code, message) = match (alteration.result, failed) {
            (Err(error), _) => (error.code(), Some(error.to_string())),
            (Ok(()), Some(code)) => (code, Some("the change was not stored".to_owned())),
            (Ok(()), None) => (ErrorCode::None, None),
        };
        let (resource_type, name) = (alteration.resource_type, alteration.name);
        (code.code(), message, resource_type, name)
    };
    altered.into_iter().map(one).collect()
}

/// The answer to AlterConfigs.
pub(crate) fn replaced(
    altered: Vec<ConfigAlteration>,
    failed: Option<ErrorCode>,
) -> AlterConfigsResponse<'static> {
    let answered = answered(altered, failed).into_iter();
    let responses =
        answered.map(
            |(error_code, message, resource_type, name)| AlterConfigsResourceResponse {
                error_code,
                error_message: message.map(Cow::Owned),
                resource_type,
                resource_name: Cow::Owned(name),
            },
        );
    AlterConfigsResponse {
        responses: responses.collect(),
        ..AlterConfigsResponse::default()
    }
}

/// The answer to IncrementalAlterConfigs.
pub(crate) fn changed(
    altered: Vec<ConfigAlteration>,
    failed: Option<ErrorCode>,
) -> IncrementalAlterConfigsResponse<'static> {
    let answered = answered(altered, failed).into_iter();
    let responses =
        answered.map(
            |(error_code, message, resource_type, name)| IncrementalResourceResponse {
                error_code,
                error_message: message.map(Cow::Owned),
                resource_type,
                resource_name: Cow::Owned(name),
            },
        );
    IncrementalAlterConfigsResponse {
        responses: responses.collect(),
        ..IncrementalAlterConfigsResponse::default()
    }
}
