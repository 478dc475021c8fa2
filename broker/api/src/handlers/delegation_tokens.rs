//! CreateDelegationToken (1 – 3), RenewDelegationToken and ExpireDelegationToken (1 – 2), and
//! DescribeDelegationToken (1 – 3), KIP-48.
//!
//! Tokens are for who has authenticated in another way. On a plaintext listener nobody has:
//! DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::create_delegation_token_request::CreateDelegationTokenRequest;
use millstream_protocol::messages::create_delegation_token_response::CreateDelegationTokenResponse;
use millstream_protocol::messages::describe_delegation_token_response::DescribeDelegationTokenResponse;
use millstream_protocol::messages::expire_delegation_token_response::ExpireDelegationTokenResponse;
use millstream_protocol::messages::renew_delegation_token_response::RenewDelegationTokenResponse;

use crate::Handled;
use crate::context::{ANONYMOUS, USER};
use crate::dispatch::Request;

const CODE: i16 = ErrorCode::DelegationTokenRequestNotAllowed as i16;
/// The time of what does not happen.
const NEVER: i64 = -1;

pub(crate) fn create(request: &Request<'_>, body: &CreateDelegationTokenRequest<'_>) -> Handled {
    let given = |owner: &Option<Cow<'_, str>>| {
        let owner = owner.as_ref().filter(|owner| !owner.is_empty());
        owner.map(|owner| owner.to_string())
    };
    let owner = given(&body.owner_principal_type).zip(given(&body.owner_principal_name));
    let (owner_type, owner) = owner.unwrap_or((USER.to_owned(), ANONYMOUS.to_owned()));
    request.reply.answered(&CreateDelegationTokenResponse {
        error_code: CODE,
        principal_type: Cow::Owned(owner_type),
        principal_name: Cow::Owned(owner),
        token_requester_principal_type: Cow::Borrowed(USER),
        token_requester_principal_name: Cow::Borrowed(ANONYMOUS),
        issue_timestamp_ms: NEVER,
        expiry_timestamp_ms: NEVER,
        max_timestamp_ms: NEVER,
        ..CreateDelegationTokenResponse::default()
    })
}

pub(crate) fn renew(request: &Request<'_>) -> Handled {
    request.reply.answered(&RenewDelegationTokenResponse {
        error_code: CODE,
        expiry_timestamp_ms: NEVER,
        ..RenewDelegationTokenResponse::default()
    })
}

pub(crate) fn expire(request: &Request<'_>) -> Handled {
    request.reply.answered(&ExpireDelegationTokenResponse {
        error_code: CODE,
        expiry_timestamp_ms: NEVER,
        ..ExpireDelegationTokenResponse::default()
    })
}

pub(crate) fn describe(request: &Request<'_>) -> Handled {
    request.reply.answered(&DescribeDelegationTokenResponse {
        error_code: CODE,
        ..DescribeDelegationTokenResponse::default()
    })
}
