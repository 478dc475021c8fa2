//! DescribeUserScramCredentials, version 0 (KIP-554).
//!
//! Mechanisms and iterations of users, never a key: of all with a null or an empty list.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millstream_metadata::Image;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use millstream_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};

use crate::dispatch::Request;
use crate::{Broker, Handled};

pub(crate) fn handle(
    broker: &Broker,
    request: &Request<'_>,
    body: &DescribeUserScramCredentialsRequest<'_>,
) -> Handled {
    let view = broker.view();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for user in body.users.iter().flatten() {
        *times.entry(&user.name).or_default() += 1;
    }
    if times.is_empty() {
        times.extend(view.image.scram_users().map(|user| (user, 1)));
    }
    let results = times.into_iter().map(|(user, times)| match times {
        1 => describe(&view.image, user),
        _ => refused(
            user,
            ErrorCode::DuplicateResource,
            "a user's credentials cannot be described twice in a request",
        ),
    });
    request
        .reply
        .answered(&DescribeUserScramCredentialsResponse {
            results: results.collect(),
            ..DescribeUserScramCredentialsResponse::default()
        })
}

fn describe<'a>(image: &Image, user: &'a str) -> DescribeUserScramCredentialsResult<'a> {
    let Some(credentials) = image.scram_credentials(user) else {
        let message = "the user has no credentials";
        return refused(user, ErrorCode::ResourceNotFound, message);
    };
    let infos = credentials
        .iter()
        .map(|(mechanism, credential)| CredentialInfo {
            mechanism: mechanism.code(),
            iterations: credential.iterations,
        });
    DescribeUserScramCredentialsResult {
        user: Cow::Borrowed(user),
        credential_infos: infos.collect(),
        ..DescribeUserScramCredentialsResult::default()
    }
}

fn refused<'a>(
    user: &'a str,
    code: ErrorCode,
    message: &'static str,
) -> DescribeUserScramCredentialsResult<'a> {
    DescribeUserScramCredentialsResult {
        user: Cow::Borrowed(user),
        error_code: code.code(),
        error_message: Some(Cow::Borrowed(message)),
        ..DescribeUserScramCredentialsResult::default()
    }
}
