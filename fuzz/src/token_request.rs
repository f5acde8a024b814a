//! The forms of the token, introspection and revocation endpoints: what is accepted is what was sent, a
//! repeated parameter is refused, and no token prints.

use crate::{client_authentication, form_of_another_library, header_and_body, values};
use chancery_core::secret::Secret;
use chancery_oauth::error::OAuthError;
use chancery_oauth::request::introspection::IntrospectionRequest;
use chancery_oauth::request::revocation::RevocationRequest;
use chancery_oauth::request::token::{GrantRequest, TargetRequest, TokenRequest};

pub fn run(input: &[u8]) {
    let Some((header, body)) = header_and_body(input) else {
        return;
    };
    let form = form_of_another_library(body);

    let request = TokenRequest::parse(header, body);
    if let Ok(request) = &request {
        client_authentication::check(&request.client, header, body);
        check_token_request(request, &form);
        for name in [
            "grant_type",
            "client_id",
            "client_secret",
            "subject_token",
            "code",
            "refresh_token",
            "auth_req_id",
            "scope",
        ] {
            if let Some(value) = values(&form, name).first() {
                let again = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair(name, value)
                    .finish();
                let twice = [body, b"&", again.as_bytes()].concat();
                assert!(
                    TokenRequest::parse(header, &twice).is_err(),
                    "`{name}` was taken twice"
                );
            }
        }
    }
    check_error(request.err());

    let introspection = IntrospectionRequest::parse(header, body);
    let revocation = RevocationRequest::parse(header, body);
    match (&introspection, &revocation) {
        (Ok(introspection), Ok(revocation)) => {
            client_authentication::check(&introspection.client, header, body);
            check_token(&introspection.token, &form);
            check_token(&revocation.token, &form);
        }
        (Err(one), Err(other)) => assert_eq!(one, other, "two endpoints refuse for two reasons"),
        _ => panic!("one endpoint takes what the other refuses"),
    }
    check_error(introspection.err());
}

fn check_token_request(request: &TokenRequest, form: &[(String, String)]) {
    let grant_type = values(form, "grant_type");
    match &request.grant {
        GrantRequest::ClientCredentials => assert_eq!(grant_type, ["client_credentials"]),
        GrantRequest::TokenExchange { subject_token, .. } => {
            assert_eq!(grant_type, ["urn:ietf:params:oauth:grant-type:token-exchange"]);
            assert_eq!(
                values(form, "subject_token"),
                [subject_token.expose_secret().as_str()]
            );
            assert!(
                values(form, "actor_token").is_empty(),
                "an actor was taken from a parameter"
            );
        }
        GrantRequest::AuthorizationCode {
            code,
            redirect_uri,
            code_verifier,
        } => {
            assert_eq!(grant_type, ["authorization_code"]);
            assert_eq!(values(form, "code"), [code.expose_secret().as_str()]);
            let one = |name| values(form, name).first().copied();
            assert_eq!(one("redirect_uri"), redirect_uri.as_deref());
            assert_eq!(one("code_verifier"), code_verifier.as_deref());
        }
        GrantRequest::RefreshToken { refresh_token } => {
            assert_eq!(grant_type, ["refresh_token"]);
            assert_eq!(
                values(form, "refresh_token"),
                [refresh_token.expose_secret().as_str()]
            );
        }
        GrantRequest::JwtBearer { assertion } => {
            assert_eq!(grant_type, ["urn:ietf:params:oauth:grant-type:jwt-bearer"]);
            assert_eq!(values(form, "assertion"), [assertion.expose_secret().as_str()]);
        }
        GrantRequest::DeviceCode { device_code } => {
            assert_eq!(grant_type, ["urn:ietf:params:oauth:grant-type:device_code"]);
            assert_eq!(
                values(form, "device_code"),
                [device_code.expose_secret().as_str()]
            );
        }
        GrantRequest::Ciba { auth_req_id } => {
            assert_eq!(grant_type, ["urn:openid:params:grant-type:ciba"]);
            assert_eq!(
                values(form, "auth_req_id"),
                [auth_req_id.expose_secret().as_str()]
            );
        }
    }
    let (resources, audiences) = (values(form, "resource"), values(form, "audience"));
    match &request.target {
        TargetRequest::Chancery => assert!(resources.is_empty() && audiences.is_empty()),
        TargetRequest::Resource(uri) => {
            assert_eq!(
                (resources.as_slice(), audiences.len()),
                ([uri.as_str()].as_slice(), 0)
            );
            assert!(!uri.as_str().contains('#'), "a resource with a fragment");
        }
        TargetRequest::Audience(name) => {
            assert_eq!(
                (resources.len(), audiences.as_slice()),
                (0, [name.as_str()].as_slice())
            );
        }
    }
    assert_eq!(values(form, "scope").first().copied(), request.scope.as_deref());
}

fn check_token(token: &Secret<String>, form: &[(String, String)]) {
    assert_eq!(values(form, "token"), [token.expose_secret().as_str()]);
    assert_eq!(format!("{token:?}"), "[redacted]");
}

/// A malformed request has one of the errors that a malformed request may have.
fn check_error(error: Option<OAuthError>) {
    let Some(error) = error else { return };
    let codes = [
        "invalid_request",
        "invalid_client",
        "unsupported_grant_type",
        "invalid_target",
    ];
    assert!(codes.contains(&error.code.as_str()), "{error}");
    assert!(error.decision.is_none() && error.reference.is_none());
}
