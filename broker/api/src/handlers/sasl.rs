//! SaslHandshake, versions 0 – 1, and SaslAuthenticate, versions 0 – 2.
//!
//! Listeners are plaintext: there is nothing to agree on, and who speaks is ANONYMOUS already.
//! ILLEGAL_SASL_STATE, without mechanisms.

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::sasl_authenticate_response::SaslAuthenticateResponse;
use millstream_protocol::messages::sasl_handshake_response::SaslHandshakeResponse;

use crate::Handled;
use crate::dispatch::Request;

pub(crate) fn handshake(request: &Request<'_>) -> Handled {
    request.reply.answered(&SaslHandshakeResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        ..SaslHandshakeResponse::default()
    })
}

pub(crate) fn authenticate(request: &Request<'_>) -> Handled {
    let message = "a SaslAuthenticate request on a listener without SASL";
    request.reply.answered(&SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        error_message: Some(Cow::Borrowed(message)),
        ..SaslAuthenticateResponse::default()
    })
}
