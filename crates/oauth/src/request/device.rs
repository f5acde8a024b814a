//! The device authorization request (RFC 8628 §3.1): a device that has no browser asks, and a person answers at another.

use super::authorize::{resource, scopes};
use super::client::PresentedClient;
use super::details::details;
use crate::error::OAuthError;
use crate::form::Parameters;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::uri::ResourceUri;

/// A device authorization request.
#[derive(Debug)]
pub struct DeviceAuthorizationRequest {
    /// What the client presented.
    pub client: PresentedClient,
    /// Scopes of the resource; none asks for its default.
    pub scope: Option<String>,
    /// What is asked for about the person and for their absence.
    pub identity: Vec<String>,
    /// Where the token will be used.
    pub resource: Option<ResourceUri>,
    /// The `authorization_details` parameter (RFC 9396 §3).
    pub details: Option<AuthorizationDetails>,
}

impl DeviceAuthorizationRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// The exact error of the standard that the request breaks.
    pub fn parse(authorization: Option<&str>, body: &[u8]) -> Result<Self, OAuthError> {
        let mut form = Parameters::parse(body)?;
        let client = PresentedClient::parse(authorization, &mut form)?;
        let (scope, identity) = scopes(form.take("scope").as_deref());
        Ok(Self {
            client,
            scope,
            identity,
            resource: resource(&mut form)?,
            details: details(&mut form)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn a_device_asks_for_scopes_at_one_resource() {
        let parse = |more: &str| {
            DeviceAuthorizationRequest::parse(None, format!("client_id=tv{more}").as_bytes())
                .map_err(|error| error.code)
        };
        let request = parse("&scope=openid+read&resource=https://a.example").unwrap();
        assert_eq!(request.scope.as_deref(), Some("read"));
        assert_eq!(request.identity, ["openid"]);
        assert_eq!(request.resource.unwrap().as_str(), "https://a.example");
        for (more, code) in [
            ("&resource=tv", ErrorCode::InvalidTarget),
            (
                "&resource=https://a.example&resource=https://b.example",
                ErrorCode::InvalidTarget,
            ),
            (
                "&authorization_details=[1]",
                ErrorCode::InvalidAuthorizationDetails,
            ),
            ("&scope=a&scope=b", ErrorCode::InvalidRequest),
        ] {
            assert_eq!(parse(more).unwrap_err(), code, "{more}");
        }
        let nobody = DeviceAuthorizationRequest::parse(None, b"scope=read");
        assert_eq!(nobody.unwrap_err().code, ErrorCode::InvalidClient);
    }
}
