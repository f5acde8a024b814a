//! Redirect URIs as they may be registered (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §4.1), and text that is shown
//! to people. Whether a requested URI is a registered one is a rule of the protocol, in `oauth`.

use url::{Host, Url};

/// Why a text is not a redirect URI that may be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// Longer than 2,048 bytes, empty, or with a character outside printable ASCII.
    #[error("a redirect URI has 1 to 2,048 printable ASCII characters")]
    Syntax,
    /// Not an absolute URI, or not in the one form that every parser reads alike.
    #[error("a redirect URI is absolute and written in its normal form")]
    NotNormal,
    /// A fragment, which RFC 6749 §3.1.2 forbids.
    #[error("a redirect URI has no fragment")]
    Fragment,
    /// A user name or password.
    #[error("a redirect URI has no user name or password")]
    UserInfo,
    /// A `*`: every redirect URI is compared exactly.
    #[error("a redirect URI has no wildcard")]
    Wildcard,
    /// Plain http to another machine.
    #[error("a redirect URI with http goes to 127.0.0.1, [::1] or localhost")]
    Insecure,
    /// A scheme that no application can claim as its own (RFC 8252 §7.1).
    #[error("a redirect URI has https, http on loopback, or a private scheme with a dot (`com.example.app`)")]
    Scheme,
}

/// Checks a redirect URI that is to be registered.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(text: &str) -> Result<(), RedirectError> {
    if text.is_empty() || text.len() > MAX_URI || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(RedirectError::Syntax);
    }
    let url = Url::parse(text).map_err(|_| RedirectError::NotNormal)?;
    if text.contains('#') {
        return Err(RedirectError::Fragment);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RedirectError::UserInfo);
    }
    if text.contains('*') {
        return Err(RedirectError::Wildcard);
    }
    // SECURITY: what is written otherwise (`https:///a`, `https:\\a`, `/../`) is read differently by other parsers.
    if url.as_str().strip_suffix('/').unwrap_or_default() != text && url.as_str() != text {
        return Err(RedirectError::NotNormal);
    }
    match url.scheme() {
        "https" if url.host().is_some() => Ok(()),
        "http" if is_own_machine(&url) => Ok(()),
        "http" => Err(RedirectError::Insecure),
        scheme if scheme.contains('.') => Ok(()),
        _ => Err(RedirectError::Scheme),
    }
}

/// Whether a redirect URI goes to the person's own machine: a loopback address, or a scheme that an application
/// there claims. Anything else on that machine may claim it too.
pub fn is_local(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.scheme() != "https")
}

/// Where a redirect URI goes, as shown to people: the host, or the private scheme.
pub fn shown_host(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().map(str::to_owned);
    Some(host.unwrap_or_else(|| format!("{}:", url.scheme())))
}

/// Whether a text may stand on a page as it is: 1 to `longest` characters that can be seen, none of which moves,
/// hides or reorders others (Unicode bidirectional controls, zero-width and control characters).
pub fn is_plain_text(text: &str, longest: usize) -> bool {
    let is_seen = !text.trim().is_empty() && text.trim().len() == text.len();
    is_seen && text.chars().count() <= longest && !text.chars().any(is_deceptive)
}

fn is_own_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address == std::net::Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == std::net::Ipv6Addr::LOCALHOST,
        None => false,
    }
}

fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00AD}'
                | '\u{034F}'
                | '\u{061C}'
                | '\u{115F}'..='\u{1160}'
                | '\u{17B4}'..='\u{17B5}'
                | '\u{180B}'..='\u{180F}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{3164}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}'
                | '\u{FFA0}'
                | '\u{FFF0}'..='\u{FFFD}'
                | '\u{E000}'..='\u{F8FF}'
                | '\u{E0000}'..='\u{E0FFF}'
        )
}

const MAX_URI: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_loopback_and_private_schemes_may_be_registered() {
        for text in [
            "https://app.example/callback",
            "https://app.example",
            "https://app.example:8443/callback?tenant=a",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:33418/",
            "http://[::1]:8080/callback",
            "http://localhost:3000/oauth/callback",
            "com.example.app:/callback",
            "com.example.app://callback/path",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_another_parser_would_read_differently_is_refused() {
        for (text, rule) in [
            ("", RedirectError::Syntax),
            ("https://app.example/a b", RedirectError::Syntax),
            ("https://app.example/\u{202e}", RedirectError::Syntax),
            ("https://app.example/\n", RedirectError::Syntax),
            ("/callback", RedirectError::NotNormal),
            ("https:///app.example/", RedirectError::NotNormal),
            ("https:app.example/", RedirectError::NotNormal),
            ("https:\\\\app.example\\", RedirectError::NotNormal),
            ("https://app.example/a/../b", RedirectError::NotNormal),
            ("https://app.example/%2e%2e/b", RedirectError::NotNormal),
            ("HTTPS://app.example/a", RedirectError::NotNormal),
            ("https://app.example:443/a", RedirectError::NotNormal),
            ("https://app.example/a#b", RedirectError::Fragment),
            ("https://app.example/a#", RedirectError::Fragment),
            ("https://app.example@evil.example/", RedirectError::UserInfo),
            ("https://:x@evil.example/", RedirectError::UserInfo),
            ("https://*.example/", RedirectError::Wildcard),
            ("https://app.example/*", RedirectError::Wildcard),
            ("http://app.example/a", RedirectError::Insecure),
            ("http://127.0.0.1.evil.example/a", RedirectError::Insecure),
            ("http://localhost.evil.example/a", RedirectError::Insecure),
            ("http://0x7f.1/a", RedirectError::NotNormal),
            ("javascript:alert(1)", RedirectError::Scheme),
            ("data:text/html,x", RedirectError::Scheme),
            ("file:///etc/passwd", RedirectError::Scheme),
            ("myapp://callback", RedirectError::Scheme),
            ("urn:ietf:wg:oauth:2.0:oob", RedirectError::Scheme),
        ] {
            assert_eq!(check(text), Err(rule), "{text}");
        }
        let long = format!("https://app.example/{}", "a".repeat(2_048));
        assert_eq!(check(&long), Err(RedirectError::Syntax));
    }

    #[test]
    fn text_that_moves_or_hides_other_text_is_not_plain() {
        assert!(is_plain_text("Report Bot (staging) — Grüße 東京", 120));
        for text in [
            "",
            " ",
            " a",
            "a\n",
            "\u{202e}toB knaB",
            "Bank\u{200b}Bot",
            "Bank\u{2066}x",
            "a\u{0}",
            "a\u{feff}",
            "a\u{e0041}",
        ] {
            assert!(!is_plain_text(text, 120), "{text:?}");
        }
        assert!(!is_plain_text(&"a".repeat(121), 120));
    }
}
