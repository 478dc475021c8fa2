//! DescribeAcls, CreateAcls and DeleteAcls, versions 1 – 3.
//!
//! There is no authorizer, so there is nothing to list or to change: SECURITY_DISABLED, for each creation
//! and each filter of a request.

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::create_acls_request::CreateAclsRequest;
use millstream_protocol::messages::create_acls_response::{AclCreationResult, CreateAclsResponse};
use millstream_protocol::messages::delete_acls_request::DeleteAclsRequest;
use millstream_protocol::messages::delete_acls_response::{
    DeleteAclsFilterResult, DeleteAclsResponse,
};
use millstream_protocol::messages::describe_acls_response::DescribeAclsResponse;

use crate::Handled;
use crate::dispatch::Request;

const CODE: i16 = ErrorCode::SecurityDisabled as i16;
const MESSAGE: &str = "no authorizer is configured on the broker";

pub(crate) fn describe(request: &Request<'_>) -> Handled {
    request.reply.answered(&DescribeAclsResponse {
        error_code: CODE,
        error_message: Some(Cow::Borrowed(MESSAGE)),
        ..DescribeAclsResponse::default()
    })
}

pub(crate) fn create(request: &Request<'_>, body: &CreateAclsRequest<'_>) -> Handled {
    let result = |_: &_| AclCreationResult {
        error_code: CODE,
        error_message: Some(Cow::Borrowed(MESSAGE)),
    };
    request.reply.answered(&CreateAclsResponse {
        results: body.creations.iter().map(result).collect(),
        ..CreateAclsResponse::default()
    })
}

pub(crate) fn delete(request: &Request<'_>, body: &DeleteAclsRequest<'_>) -> Handled {
    let result = |_: &_| DeleteAclsFilterResult {
        error_code: CODE,
        error_message: Some(Cow::Borrowed(MESSAGE)),
        ..DeleteAclsFilterResult::default()
    };
    request.reply.answered(&DeleteAclsResponse {
        filter_results: body.filters.iter().map(result).collect(),
        ..DeleteAclsResponse::default()
    })
}
