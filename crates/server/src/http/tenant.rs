//! Which tenant a request is for: its host and path name a base URL that configuration knows. Headers only
//! choose among known tenants; no URL is ever built from them.

use crate::app::App;
use crate::http::error;
use crate::listener::LocalPeer;
use crate::setup::DEFAULT_TENANT;
use crate::tenants::Served;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{Uri, Version};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use tower::ServiceExt as _;

/// The tenant of a request, as an extension.
#[derive(Clone, Debug)]
pub struct RequestTenant(pub Arc<Served>);

/// What [`dispatch`] needs.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The node.
    pub app: Arc<App>,
    /// The routes of a tenant.
    pub tenant: Router,
}

/// Finds the tenant, strips its prefix and hands the request to its routes.
pub async fn dispatch(State(dispatch): State<Dispatch>, mut request: Request) -> Response {
    let Some((served, path)) = find(&dispatch.app, &request) else {
        return missing(&dispatch.app, &request).into_response();
    };
    if !served.tenant.state.is_active() {
        return error::unknown_host().into_response();
    }
    let Some(uri) = with_path(request.uri(), &path) else {
        return error::no_such_endpoint().into_response();
    };
    // SECURITY: what was revoked after a backup stands as it was before, until somebody has looked at it.
    if served.is_unconfirmed() && !is_open_while_unconfirmed(&path) {
        return error::unconfirmed().into_response();
    }
    *request.uri_mut() = uri;
    request.extensions_mut().insert(RequestTenant(served));
    match dispatch.tenant.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// What is served of a tenant whose restore nobody has confirmed: what administrators need for it, and what is public.
fn is_open_while_unconfirmed(path: &str) -> bool {
    ["/api/v1/", "/.well-known/", "/log/", "/jwks"]
        .iter()
        .any(|open| path.starts_with(open))
        && path != "/api/v1/enrol"
}

/// The tenant and the path below its base.
fn find(app: &App, request: &Request) -> Option<(Arc<Served>, String)> {
    let (meant, rest) = meant(request)?;
    let served = match meant {
        Meant::Name(name) => app.tenants.find_by_name(&name),
        Meant::Location(location) => app.tenants.find_at(&location),
    };
    Some((served?, rest))
}

/// Why there is no tenant: nobody knows it, or its key waits for a key service.
fn missing(app: &App, request: &Request) -> error::Problem {
    let is_closed = match meant(request) {
        Some((Meant::Name(name), _)) => app.tenants.is_closed(|_, other| other == name),
        Some((Meant::Location(location), _)) => app.tenants.is_closed(|other, _| other == location),
        None => false,
    };
    if is_closed {
        error::key_service_unavailable()
    } else {
        error::unknown_host()
    }
}

/// How a request names its tenant.
enum Meant {
    /// By name, on the local socket.
    Name(String),
    /// By host, port and prefix.
    Location(String),
}

/// The tenant that a request names, and the path below its base.
fn meant(request: &Request) -> Option<(Meant, String)> {
    let path = request.uri().path();
    let (prefix, rest) = split(path);
    // The local socket has no host name: the prefix or its absence names the tenant.
    if request.extensions().get::<LocalPeer>().is_some() {
        let name = prefix.strip_prefix("/t/").unwrap_or(DEFAULT_TENANT);
        return Some((Meant::Name(name.to_owned()), rest));
    }
    let header = request
        .headers()
        .get(axum::http::header::HOST)
        .and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
    // SECURITY: two hosts in one request are two readings of it (RFC 9113 §8.3.1). HTTP/1 says which one counts
    // (RFC 9112 §3.2.2).
    if request.version() >= Version::HTTP_2
        && let (Some(authority), Some(header)) = (authority, header)
        && !authority.eq_ignore_ascii_case(header)
    {
        return None;
    }
    let host = authority.or(header)?.to_ascii_lowercase();
    Some((Meant::Location(format!("{host}{prefix}")), rest))
}

/// Splits `/t/{name}` from a path, where it leads or, for well-known documents, where it trails
/// (RFC 8414 §3.1 inserts the well-known part before the issuer's path).
fn split(path: &str) -> (String, String) {
    for document in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        if let Some(prefix) = path.strip_prefix(document)
            && (prefix.is_empty() || prefix.starts_with("/t/"))
        {
            return (prefix.to_owned(), document.to_owned());
        }
    }
    // RFC 9728 §3.1 inserts it before the resource's path, of which the tenant's prefix is a part.
    if let Some(resource) = path.strip_prefix(PROTECTED_RESOURCE)
        && resource.starts_with("/t/")
    {
        let (prefix, rest) = split(resource);
        return (prefix, format!("{PROTECTED_RESOURCE}{rest}"));
    }
    let Some(after) = path.strip_prefix("/t/") else {
        return (String::new(), path.to_owned());
    };
    let (name, rest) = after
        .split_once('/')
        .map_or((after, String::from("/")), |(name, rest)| {
            (name, format!("/{rest}"))
        });
    (format!("/t/{name}"), rest)
}

const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    Some(Uri::from(text.parse::<PathAndQuery>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_prefix_leads_and_for_well_known_documents_trails() {
        let pair = |path| split(path);
        assert_eq!(pair("/token"), (String::new(), "/token".to_owned()));
        assert_eq!(pair("/t/acme/token"), ("/t/acme".to_owned(), "/token".to_owned()));
        assert_eq!(
            pair("/.well-known/oauth-authorization-server/t/acme"),
            (
                "/t/acme".to_owned(),
                "/.well-known/oauth-authorization-server".to_owned()
            )
        );
        assert_eq!(
            pair("/t/acme/.well-known/openid-configuration"),
            (
                "/t/acme".to_owned(),
                "/.well-known/openid-configuration".to_owned()
            )
        );
        assert_eq!(
            pair("/.well-known/oauth-protected-resource/t/acme/mcp/notes"),
            (
                "/t/acme".to_owned(),
                "/.well-known/oauth-protected-resource/mcp/notes".to_owned()
            )
        );
        let own = "/.well-known/oauth-protected-resource/mcp/notes";
        assert_eq!(pair(own), (String::new(), own.to_owned()));
    }
}
