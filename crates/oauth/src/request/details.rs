//! The parameter `authorization_details` (RFC 9396 §2, §3, §6): text to a list of details. Whether their types are known,
//! and may be asked for, is judged where the resource is known.

use crate::error::{ErrorCode, OAuthError};
use crate::form::Parameters;
use chancery_core::authorization_details::AuthorizationDetails;

/// Takes the parameter out. An empty list is not the same as none: it asks for no details.
///
/// # Errors
/// `invalid_authorization_details` (§5) for what is no list of details in one reading, or too much.
pub(super) fn details(form: &mut Parameters) -> Result<Option<AuthorizationDetails>, OAuthError> {
    const MALFORMED: OAuthError = OAuthError::new(
        ErrorCode::InvalidAuthorizationDetails,
        "authorization_details is a JSON list of at most 8 different objects, each with a `type` and no member twice, in \
         at most 2,048 bytes",
    );
    let text = form.take("authorization_details");
    text.map(|text| AuthorizationDetails::parse(&text).map_err(|_| MALFORMED))
        .transpose()
}
