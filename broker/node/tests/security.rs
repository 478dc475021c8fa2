//! What concerns users on a broker without authentication: passwords are stored, all else is refused.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::borrow::Cow;
use std::sync::Arc;

use common::connection::{Connection, read};
use common::{NOW, node, node_on};
use millstream_env::sim::{SimClock, SimDisk};
use millstream_node::Node;
use millstream_protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use millstream_protocol::messages::create_acls_request::AclCreation;
use millstream_protocol::messages::delete_acls_request::DeleteAclsFilter;
use millstream_protocol::messages::describe_user_scram_credentials_request::{
    DescribeUserScramCredentialsRequest, UserName,
};
use millstream_protocol::messages::{
    AlterUserScramCredentialsResponse, CreateAclsRequest, CreateAclsResponse,
    CreateDelegationTokenRequest, CreateDelegationTokenResponse, DeleteAclsRequest,
    DeleteAclsResponse, DescribeAclsRequest, DescribeAclsResponse, DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse, DescribeUserScramCredentialsResponse,
    ExpireDelegationTokenRequest, ExpireDelegationTokenResponse, RenewDelegationTokenRequest,
    RenewDelegationTokenResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse, VoteRequest,
};

const SHA_256: i8 = 1;
const SHA_512: i8 = 2;

fn upsertion(name: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion<'_> {
    ScramCredentialUpsertion {
        name: Cow::Borrowed(name),
        mechanism,
        iterations,
        salt: Cow::Borrowed(b"salt"),
        salted_password: Cow::Borrowed(&[7; 32]),
    }
}

/// Users with the code of what became of them, by name.
fn alter(
    node: &Node,
    deletions: &[(&str, i8)],
    upsertions: Vec<ScramCredentialUpsertion<'_>>,
) -> Vec<(String, i16)> {
    let deletions = deletions.iter();
    let request = AlterUserScramCredentialsRequest {
        deletions: deletions
            .map(|(name, mechanism)| ScramCredentialDeletion {
                name: Cow::Borrowed(*name),
                mechanism: *mechanism,
            })
            .collect(),
        upsertions,
    };
    let bytes = Connection::new(node, 1).ask(0, &request);
    let answer: AlterUserScramCredentialsResponse<'_> =
        read::<AlterUserScramCredentialsRequest<'_>, _>(&bytes, 0);
    let results = answer.results.iter();
    let mut results: Vec<_> = results
        .map(|result| (result.user.to_string(), result.error_code))
        .collect();
    results.sort();
    results
}

/// Users with their code, and the mechanisms and iterations they have.
type Users = Vec<(String, i16, Vec<(i8, i32)>)>;

fn describe(node: &Node, users: Option<&[&str]>) -> Users {
    let request = DescribeUserScramCredentialsRequest {
        users: users.map(|users| {
            let users = users.iter();
            users
                .map(|name| UserName {
                    name: Cow::Borrowed(*name),
                })
                .collect()
        }),
    };
    let bytes = Connection::new(node, 1).ask(0, &request);
    let answer: DescribeUserScramCredentialsResponse<'_> =
        read::<DescribeUserScramCredentialsRequest<'_>, _>(&bytes, 0);
    assert_eq!(answer.error_code, 0);
    let results = answer.results.iter().map(|result| {
        let infos = result.credential_infos.iter();
        let infos = infos.map(|info| (info.mechanism, info.iterations));
        (result.user.to_string(), result.error_code, infos.collect())
    });
    results.collect()
}

fn user(name: &str, code: i16, infos: &[(i8, i32)]) -> (String, i16, Vec<(i8, i32)>) {
    (name.to_owned(), code, infos.to_vec())
}

fn codes(expected: &[(&str, i16)]) -> Vec<(String, i16)> {
    let expected = expected.iter();
    expected
        .map(|(name, code)| (name.to_string(), *code))
        .collect()
}

#[test]
fn credentials_are_stored_without_the_password_and_outlive_the_process() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::new(NOW)));
    let node = node_on(&disk, &clock, &[]);
    let both = vec![
        upsertion("a", SHA_256, 4096),
        upsertion("b", SHA_512, 16_384),
    ];
    assert_eq!(alter(&node, &[], both), codes(&[("a", 0), ("b", 0)]));
    let second = vec![upsertion("a", SHA_512, 5000)];
    assert_eq!(alter(&node, &[], second), codes(&[("a", 0)]));
    let a = user("a", 0, &[(SHA_256, 4096), (SHA_512, 5000)]);
    let b = user("b", 0, &[(SHA_512, 16_384)]);
    assert_eq!(describe(&node, None), [a.clone(), b.clone()]);
    assert_eq!(describe(&node, Some(&[])), [a.clone(), b.clone()]);
    let asked = describe(&node, Some(&["b", "none", "a", "a"]));
    assert_eq!(
        asked,
        [user("a", 92, &[]), b.clone(), user("none", 91, &[])]
    );
    let view = node.broker.view();
    for credential in view.image.scram_credentials("a").unwrap().values() {
        assert_eq!(credential.salt, b"salt");
        assert_ne!(credential.stored_key, [7; 32]);
        assert_ne!(credential.stored_key, credential.server_key);
    }
    drop(view);
    node.close().unwrap();
    drop(node);
    let node = node_on(&disk, &clock, &[]);
    assert_eq!(describe(&node, None), [a, b.clone()]);
    let deleted = alter(&node, &[("a", SHA_256)], vec![]);
    assert_eq!(deleted, codes(&[("a", 0)]));
    let left = user("a", 0, &[(SHA_512, 5000)]);
    assert_eq!(describe(&node, None), [left, b.clone()]);
    alter(&node, &[("a", SHA_512)], vec![]);
    assert_eq!(describe(&node, None), [b]);
}

#[test]
fn credentials_that_make_no_sense_are_refused_user_by_user() {
    let node = node(&[]);
    let upsertions = vec![
        upsertion("few", SHA_256, 4095),
        upsertion("many", SHA_256, 16_385),
        upsertion("kind", 3, 4096),
        upsertion("", SHA_256, 4096),
        upsertion("good", SHA_256, 4096),
        upsertion("twice", SHA_256, 4096),
        // Of another mechanism, and still twice.
        upsertion("twice", SHA_512, 4096),
    ];
    let deletions = [("gone", SHA_256), ("unknown", 0)];
    let expected = [
        ("", 93),
        ("few", 93),
        ("gone", 91),
        ("good", 0),
        ("kind", 33),
        ("many", 93),
        ("twice", 92),
        ("unknown", 33),
    ];
    assert_eq!(alter(&node, &deletions, upsertions), codes(&expected));
    assert_eq!(describe(&node, None), [user("good", 0, &[(SHA_256, 4096)])]);
    let both_ways = vec![upsertion("good", SHA_256, 8192)];
    let refused = alter(&node, &[("good", SHA_256)], both_ways);
    assert_eq!(refused, codes(&[("good", 92)]));
    assert_eq!(describe(&node, None), [user("good", 0, &[(SHA_256, 4096)])]);
}

#[test]
fn there_are_no_acls() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let bytes = client.ask(3, &DescribeAclsRequest::default());
    let described: DescribeAclsResponse<'_> = read::<DescribeAclsRequest<'_>, _>(&bytes, 3);
    assert_eq!((described.error_code, described.resources.len()), (54, 0));
    let creations = vec![AclCreation::default(), AclCreation::default()];
    let bytes = client.ask(3, &CreateAclsRequest { creations });
    let created: CreateAclsResponse<'_> = read::<CreateAclsRequest<'_>, _>(&bytes, 3);
    let codes: Vec<i16> = created
        .results
        .iter()
        .map(|result| result.error_code)
        .collect();
    assert_eq!(codes, [54, 54]);
    let filters = vec![DeleteAclsFilter::default()];
    let bytes = client.ask(3, &DeleteAclsRequest { filters });
    let deleted: DeleteAclsResponse<'_> = read::<DeleteAclsRequest<'_>, _>(&bytes, 3);
    let results = deleted.filter_results.iter();
    let codes: Vec<_> = results
        .map(|result| (result.error_code, result.matching_acls.len()))
        .collect();
    assert_eq!(codes, [(54, 0)]);
}

#[test]
fn there_are_no_delegation_tokens() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let bytes = client.ask(3, &CreateDelegationTokenRequest::default());
    let created: CreateDelegationTokenResponse<'_> =
        read::<CreateDelegationTokenRequest<'_>, _>(&bytes, 3);
    assert_eq!(created.error_code, 64);
    assert_eq!(
        (&*created.principal_type, &*created.principal_name),
        ("User", "ANONYMOUS")
    );
    assert_eq!((created.issue_timestamp_ms, created.hmac.len()), (-1, 0));
    let bytes = client.ask(2, &RenewDelegationTokenRequest::default());
    let renewed: RenewDelegationTokenResponse =
        read::<RenewDelegationTokenRequest<'_>, _>(&bytes, 2);
    assert_eq!((renewed.error_code, renewed.expiry_timestamp_ms), (64, -1));
    let bytes = client.ask(2, &ExpireDelegationTokenRequest::default());
    let expired: ExpireDelegationTokenResponse =
        read::<ExpireDelegationTokenRequest<'_>, _>(&bytes, 2);
    assert_eq!((expired.error_code, expired.expiry_timestamp_ms), (64, -1));
    let bytes = client.ask(3, &DescribeDelegationTokenRequest::default());
    let described: DescribeDelegationTokenResponse<'_> =
        read::<DescribeDelegationTokenRequest<'_>, _>(&bytes, 3);
    assert_eq!((described.error_code, described.tokens.len()), (64, 0));
}

#[test]
fn there_is_no_sasl() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let plain = SaslHandshakeRequest {
        mechanism: "PLAIN".into(),
    };
    let bytes = client.ask(1, &plain);
    let shaken: SaslHandshakeResponse<'_> = read::<SaslHandshakeRequest<'_>, _>(&bytes, 1);
    assert_eq!((shaken.error_code, shaken.mechanisms.len()), (34, 0));
    let bytes = client.ask(2, &SaslAuthenticateRequest::default());
    let authenticated: SaslAuthenticateResponse<'_> =
        read::<SaslAuthenticateRequest<'_>, _>(&bytes, 2);
    assert_eq!(
        (authenticated.error_code, authenticated.auth_bytes.len()),
        (34, 0)
    );
}

#[test]
fn what_is_between_controllers_closes_the_connection() {
    let node = node(&[]);
    let closed = Connection::new(&node, 1).send(0, &VoteRequest::default());
    assert!(closed.unwrap_err().to_string().contains("request 52 "));
}
