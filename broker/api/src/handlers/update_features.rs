//! UpdateFeatures, versions 0 – 2 (KIP-584).
//!
//! All of a request's features change, or none. 1: the type of upgrade in place of a flag, and validation
//! alone; 2: no list of results, for they are all the same (KIP-1022).

use std::borrow::Cow;

use millstream_metadata::{FeatureUpdate, FeatureUpdateError, UpgradeType};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::update_features_request::{
    FeatureUpdateKey, UpdateFeaturesRequest,
};
use millstream_protocol::messages::update_features_response::{
    UpdatableFeatureResult, UpdateFeaturesResponse,
};

use crate::dispatch::Request;
use crate::handlers::ParkedProposal;
use crate::{Context, Handled, Proposal};

/// From this version on there are no results one by one.
const VERSION_WITHOUT_RESULTS: i16 = 2;

pub(crate) fn handle(
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &UpdateFeaturesRequest<'_>,
) -> Handled {
    let version = request.reply.version;
    let updates = body.feature_updates.iter();
    let updates = updates.map(|update| wanted(update, version)).collect();
    let validate_only = body.validate_only;
    ParkedProposal::propose(context, request.reply, |token| Proposal::UpdateFeatures {
        token,
        updates,
        validate_only,
    })
}

fn wanted(update: &FeatureUpdateKey<'_>, version: i16) -> FeatureUpdate {
    let upgrade_type = match (version, update.allow_downgrade) {
        (0, false) => Some(UpgradeType::Upgrade),
        (0, true) => Some(UpgradeType::SafeDowngrade),
        _ => UpgradeType::from_code(update.upgrade_type),
    };
    FeatureUpdate {
        name: update.feature.to_string(),
        level: update.max_version_level,
        upgrade_type,
    }
}

/// The answer once the metadata log has decided.
pub(crate) fn answer(
    version: i16,
    updated: Result<Result<Vec<String>, FeatureUpdateError>, ErrorCode>,
) -> UpdateFeaturesResponse<'static> {
    let (code, message, names) = match updated {
        Ok(Ok(names)) => (ErrorCode::None, None, names),
        Ok(Err(error)) => (error.code(), Some(error.to_string()), Vec::new()),
        Err(code) => (code, None, Vec::new()),
    };
    let names = names
        .into_iter()
        .filter(|_| version < VERSION_WITHOUT_RESULTS);
    UpdateFeaturesResponse {
        error_code: code.code(),
        error_message: message.map(Cow::Owned),
        results: names
            .map(|name| UpdatableFeatureResult {
                feature: Cow::Owned(name),
                ..UpdatableFeatureResult::default()
            })
            .collect(),
        ..UpdateFeaturesResponse::default()
    }
}
