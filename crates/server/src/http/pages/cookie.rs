//! Cookies (RFC 6265bis §4.1.3): bound to this very host, out of reach of scripts, not sent with requests that other
//! sites make but for navigation. On a loopback base without TLS, for development, the name has no prefix.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use chancery_core::secret::Secret;
use chancery_core::time::Ttl;

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// The secret of a session.
    Session,
    /// The secret of a browser that began to sign in.
    SignIn,
}

impl Cookie {
    /// Its name under a base URL.
    pub fn name(self, base: &str) -> &'static str {
        match (self, is_secure(base)) {
            (Self::Session, true) => "__Host-chancery-session",
            (Self::Session, false) => "chancery-session",
            (Self::SignIn, true) => "__Host-chancery-sign-in",
            (Self::SignIn, false) => "chancery-sign-in",
        }
    }

    /// Its value in a request. Two of one name are two readings of the request, and count as none.
    pub fn read(self, base: &str, headers: &HeaderMap) -> Option<Secret<String>> {
        let name = self.name(base);
        let mut found = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(named, _)| *named == name);
        let (_, value) = found.next()?;
        if found.next().is_some() || !is_well_formed(value) {
            return None;
        }
        Some(Secret::new(value.to_owned()))
    }

    /// The header that sets it.
    fn set(self, base: &str, value: &str, lifetime: Ttl) -> Option<HeaderValue> {
        let secure = if is_secure(base) { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
            self.name(base),
            lifetime.as_seconds()
        );
        let mut header = HeaderValue::from_str(&text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// The header that gives the browser a secret.
    pub fn set_secret(self, base: &str, secret: &Secret<String>, lifetime: Ttl) -> Option<HeaderValue> {
        self.set(base, secret.expose_secret(), lifetime)
    }

    /// The header that takes it away.
    pub fn clear(self, base: &str) -> Option<HeaderValue> {
        self.set(base, "", Ttl::ZERO)
    }
}

fn is_secure(base: &str) -> bool {
    base.starts_with("https://")
}

fn is_well_formed(value: &str) -> bool {
    (40..=80).contains(&value.len())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "cse_0123456789012345678901234567890123456789012";

    fn read(header: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, header.parse().unwrap());
        Cookie::Session.read("https://id.example", &headers).is_some()
    }

    #[test]
    fn a_cookie_is_bound_to_the_host_and_out_of_reach_of_scripts() {
        let set = Cookie::Session.set("https://id.example", SECRET, Ttl::from_minutes(1));
        let text = set.unwrap().to_str().unwrap().to_owned();
        assert!(text.starts_with("__Host-chancery-session="));
        for attribute in [
            "; Path=/",
            "; HttpOnly",
            "; SameSite=Lax",
            "; Secure",
            "; Max-Age=60",
        ] {
            assert!(text.contains(attribute), "{attribute}");
        }
        assert!(!text.contains("Domain"));
        let plain = Cookie::Session.set("http://127.0.0.1:1", SECRET, Ttl::from_minutes(1));
        assert!(!plain.unwrap().to_str().unwrap().contains("Secure"));
    }

    #[test]
    fn two_cookies_of_one_name_are_none() {
        assert!(read(&format!("a=b; __Host-chancery-session={SECRET}")));
        assert!(!read(&format!(
            "__Host-chancery-session={SECRET}; __Host-chancery-session={SECRET}"
        )));
        assert!(!read(&format!("chancery-session={SECRET}")));
        assert!(!read("__Host-chancery-session=short"));
    }
}
