//! Requests that another site makes a browser send. Two defences, each enough by itself: where the browser says the
//! request comes from (Fetch Metadata `Sec-Fetch-Site`, RFC 6454 `Origin`), and a token in the form that is bound to
//! the session.
//!
//! With `Referrer-Policy: no-referrer` a browser sends `Origin: null` with a form of our own, so the site that it
//! names itself counts first.

use crate::people::session::SignedIn;
use crate::tenants::Served;
use axum::http::HeaderMap;
use axum::http::header::ORIGIN;

/// Why a form is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgeryError {
    /// Another site sent it.
    #[error("the form was sent by another site")]
    OtherSite,
    /// It lacks the token of this session.
    #[error("the form does not belong to this sign-in")]
    Token,
}

/// Whether a form that changes something may be taken from this person.
///
/// # Errors
/// The defence that it does not pass.
pub fn check(
    served: &Served,
    headers: &HeaderMap,
    signed_in: &SignedIn,
    token: Option<&str>,
) -> Result<(), ForgeryError> {
    check_site(&served.tenant.spec.base_url, headers)?;
    if token.is_some_and(|token| signed_in.is_form_token(served, token)) {
        return Ok(());
    }
    Err(ForgeryError::Token)
}

/// Whether the browser says that the request comes from our own pages.
///
/// # Errors
/// [`ForgeryError::OtherSite`].
pub fn check_site(base: &str, headers: &HeaderMap) -> Result<(), ForgeryError> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_ours = match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
        (Some(site), Some(origin)) => site == "same-origin" && (origin == base || origin == "null"),
        (Some(site), None) => site == "same-origin",
        (None, Some(origin)) => origin == base,
        // Not a browser of these years. The token decides.
        (None, None) => true,
    };
    if is_ours {
        Ok(())
    } else {
        Err(ForgeryError::OtherSite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_site_is_not_taken() {
        let check = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            check_site("https://id.example", &headers).is_ok()
        };
        assert!(check(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(check(&[("origin", "https://id.example")]));
        assert!(check(&[]));
        for refused in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "https://id.example.evil.example")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "https://evil.example"),
            ],
        ] {
            assert!(!check(refused), "{refused:?}");
        }
    }
}
