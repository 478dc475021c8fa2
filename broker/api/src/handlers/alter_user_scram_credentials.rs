//! AlterUserScramCredentials, version 0 (KIP-554).
//!
//! Credentials are stored in the metadata, as the two keys that a broker needs to check a client, and not
//! as the salted password that comes: whoever has that can be the user. One change for a user in a request.

use std::borrow::Cow;

use millstream_metadata::{ScramAlterationResult, ScramDeletion, ScramUpsertion};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::alter_user_scram_credentials_request::AlterUserScramCredentialsRequest;
use millstream_protocol::messages::alter_user_scram_credentials_response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};

use crate::dispatch::Request;
use crate::handlers::ParkedProposal;
use crate::{Context, Handled, Proposal};

pub(crate) fn handle(
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &AlterUserScramCredentialsRequest<'_>,
) -> Handled {
    let deletions = body.deletions.iter().map(|deletion| ScramDeletion {
        user: deletion.name.to_string(),
        mechanism: deletion.mechanism,
    });
    let upsertions = body.upsertions.iter().map(|upsertion| ScramUpsertion {
        user: upsertion.name.to_string(),
        mechanism: upsertion.mechanism,
        iterations: upsertion.iterations,
        salt: upsertion.salt.to_vec(),
        salted_password: upsertion.salted_password.to_vec(),
    });
    let (deletions, upsertions) = (deletions.collect(), upsertions.collect());
    ParkedProposal::propose(context, request.reply, |token| Proposal::AlterScram {
        token,
        deletions,
        upsertions,
    })
}

/// The answer once the metadata log has decided.
pub(crate) fn answer(
    altered: Vec<ScramAlterationResult>,
    failed: Option<ErrorCode>,
) -> AlterUserScramCredentialsResponse<'static> {
    let results = altered.into_iter().map(|altered| {
        let error = altered.result.err();
        let code = error.map(|error| error.code()).or(failed);
        AlterUserScramCredentialsResult {
            user: Cow::Owned(altered.user),
            error_code: code.unwrap_or(ErrorCode::None).code(),
            error_message: error.map(|error| Cow::Owned(error.to_string())),
        }
    });
    AlterUserScramCredentialsResponse {
        results: results.collect(),
        ..AlterUserScramCredentialsResponse::default()
    }
}
