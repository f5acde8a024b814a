//! Whether a requested redirect URI is a registered one (RFC 6749 §3.1.2.3, RFC 8252 §7.3, RFC 9700 §2.1 and
//! §4.1): exact comparison of the text, with one exception, the port of a loopback address. What may be registered
//! at all is `chancery_core::redirect`.

/// The registered redirect URI that a requested one matches: byte for byte, or, for plain http on this very
/// machine, but for the port, which an application gets from its operating system as it starts.
pub fn find<'a>(registered: &'a [String], requested: &str) -> Option<&'a str> {
    registered
        .iter()
        .map(String::as_str)
        .find(|registered| matches(registered, requested))
}

/// Whether a requested redirect URI is this registered one.
pub fn matches(registered: &str, requested: &str) -> bool {
    if registered == requested {
        return true;
    }
    match (Loopback::parse(registered), Loopback::parse(requested)) {
        (Some(registered), Some(requested)) => registered == requested,
        _ => false,
    }
}

/// A loopback redirect URI without its port. Taken apart as text, so that nothing is normalised away.
#[derive(PartialEq, Eq)]
struct Loopback<'a> {
    host: &'a str,
    rest: &'a str,
}

impl<'a> Loopback<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_URI || !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
            return None;
        }
        let after = text.strip_prefix("http://")?;
        let end = after.find(['/', '?']).unwrap_or(after.len());
        let (authority, rest) = after.split_at_checked(end)?;
        let host = HOSTS.iter().find(|host| authority.starts_with(**host))?;
        let port = authority.strip_prefix(host)?;
        (port.is_empty() || is_port(port)).then_some(Self { host, rest })
    }
}

/// `:` and a port number without leading zeros.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else {
        return false;
    };
    let is_number = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number && digits.parse::<u16>().is_ok()
}

/// An address, or the name that stands for it: each matches only itself.
const HOSTS: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];
const MAX_URI: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_uri_matches_itself_exactly() {
        let registered = "https://app.example/callback?a=1";
        assert!(matches(registered, registered));
        for requested in [
            "https://app.example/callback",
            "https://app.example/callback?a=1&b=2",
            "https://app.example/callback?a=2",
            "https://app.example/callback/?a=1",
            "https://app.example/callback%3Fa=1",
            "https://app.example:443/callback?a=1",
            "https://app.example:8443/callback?a=1",
            "https://APP.example/callback?a=1",
            "https://app.example/Callback?a=1",
            "https://app.example/callback?a=1#x",
            "https://app.example/x/../callback?a=1",
            "https://app.example.evil.example/callback?a=1",
            "https://app.example@evil.example/callback?a=1",
            "https://evil.example/https://app.example/callback?a=1",
            "https://app.example\\@evil.example/callback?a=1",
            "http://app.example/callback?a=1",
            "//app.example/callback?a=1",
            "",
            " https://app.example/callback?a=1",
            "https://app.example/callback?a=1 ",
        ] {
            assert!(!matches(registered, requested), "{requested}");
        }
    }

    #[test]
    fn only_the_port_of_a_loopback_address_is_free() {
        for registered in ["http://127.0.0.1/callback", "http://127.0.0.1:8080/callback"] {
            for requested in [
                "http://127.0.0.1/callback",
                "http://127.0.0.1:1/callback",
                "http://127.0.0.1:65535/callback",
            ] {
                assert!(matches(registered, requested), "{registered} {requested}");
            }
        }
        assert!(matches("http://[::1]/callback", "http://[::1]:5/callback"));
        assert!(matches(
            "http://localhost:3000/callback",
            "http://localhost:3001/callback"
        ));
        assert!(matches("http://localhost", "http://localhost:9"));
    }

    #[test]
    fn loopback_is_no_way_to_another_host() {
        let registered = "http://127.0.0.1/callback";
        for requested in [
            "http://localhost/callback",
            "http://[::1]/callback",
            "http://127.0.0.2/callback",
            "http://127.1/callback",
            "http://0x7f000001/callback",
            "http://2130706433/callback",
            "http://127.0.0.1.evil.example/callback",
            "http://127.0.0.1:80@evil.example/callback",
            "http://127.0.0.1@evil.example/callback",
            "http://user@127.0.0.1/callback",
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:080/callback",
            "http://127.0.0.1:65536/callback",
            "http://127.0.0.1:+80/callback",
            "http://127.0.0.1:80:81/callback",
            "http://127.0.0.1\\.evil.example/callback",
            "http://127.0.0.1#.evil.example/callback",
            "http://127.0.0.1:80/callback#x",
            "http://127.0.0.1:80/callback/",
            "http://127.0.0.1:80/other",
            "http://127.0.0.1:80/callback?code=x",
            "http://127.0.0.1:80",
            "https://127.0.0.1:80/callback",
            "HTTP://127.0.0.1:80/callback",
            "http:/127.0.0.1/callback",
            "http:127.0.0.1/callback",
            "http://127.0.0.1:80\t/callback",
        ] {
            assert!(!matches(registered, requested), "{requested}");
        }
    }

    #[test]
    fn a_port_is_free_on_plain_loopback_only() {
        for (registered, requested) in [
            ("https://127.0.0.1/callback", "https://127.0.0.1:8443/callback"),
            ("https://localhost/callback", "https://localhost:8443/callback"),
            ("http://app.example/callback", "http://app.example:80/callback"),
            (
                "com.example.app://localhost/callback",
                "com.example.app://localhost:1/callback",
            ),
        ] {
            assert!(!matches(registered, requested), "{requested}");
        }
    }

    #[test]
    fn one_of_several_is_found() {
        let registered = ["https://a.example/".to_owned(), "http://localhost/cb".to_owned()];
        assert_eq!(
            find(&registered, "http://localhost:7/cb"),
            Some("http://localhost/cb")
        );
        assert_eq!(find(&registered, "http://localhost:7/cbx"), None);
        assert_eq!(find(&[], "https://a.example/"), None);
    }
}
