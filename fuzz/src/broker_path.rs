//! Path and query of a brokered request: a path has one spelling, which two libraries read alike, and what was
//! decided on is what is sent. The server is not linked for it: the file that is fuzzed depends on nothing of it.

#[path = "../../crates/server/src/broker/path.rs"]
mod path;

use path::{checked_query, normalise};
use url::Url;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let Ok(normal) = normalise(path) else { return };

    one_spelling(path, &normal);
    no_second_reading(&normal);
    let query = query.and_then(|query| checked_query(query).ok());
    sent_as_decided(&normal, query.as_deref());
}

/// The normal form is a fixed point, and means what was given.
fn one_spelling(given: &str, normal: &str) {
    assert_eq!(normalise(normal).as_deref(), Ok(normal), "not a fixed point");
    assert_eq!(decoded(given), decoded(normal), "it means something else");
    // Escapes hold letters and digits themselves: only a path without one is spelled anew.
    if !normal.contains('%') {
        let spelled: String = normal
            .chars()
            .map(|letter| match letter {
                letter if letter.is_ascii_alphanumeric() => format!("%{:02x}", u32::from(letter)),
                letter => letter.to_string(),
            })
            .collect();
        if spelled.len() <= 4_096 {
            assert_eq!(normalise(&spelled).as_deref(), Ok(normal), "two spellings");
        }
    }
}

/// Decoding once or twice, and splitting before or after, show no segment that was not there.
fn no_second_reading(normal: &str) {
    assert!(normal.is_ascii() && normal.starts_with('/') && !normal.contains(['\\', ';', '?', '#']));
    let once = decoded(normal);
    assert!(!once.contains(&b'%'), "it can be decoded twice");
    assert!(
        !once
            .iter()
            .any(|byte| matches!(byte, b'\\' | b';') || byte.is_ascii_control())
    );
    let before: Vec<Vec<u8>> = normal.split('/').map(decoded).collect();
    let after: Vec<Vec<u8>> = once.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect();
    assert_eq!(before, after, "an encoded separator");
    assert!(
        !after
            .iter()
            .any(|segment| matches!(segment.as_slice(), b"." | b"..")),
        "a dot segment"
    );
    let inner = &after[1..after.len() - 1];
    assert!(!inner.iter().any(Vec::is_empty), "an empty segment");
}

/// What a URL library makes of it is the same text, at the host that was meant.
fn sent_as_decided(normal: &str, query: Option<&str>) {
    for base in ["https://provider.example", "https://provider.example/v1"] {
        let text = format!("{base}{normal}");
        let mut url = Url::parse(&text).expect("a path that was accepted makes a URL");
        assert_eq!(url.as_str(), text, "sent otherwise than decided");
        url.set_query(query);
        assert_eq!(url.host_str(), Some("provider.example"));
        assert_eq!(Some(url.path()), text.strip_prefix("https://provider.example"));
        assert_eq!(url.fragment(), None);
    }
}

fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap() as u8;
        out.push(digit() * 16 + digit());
    }
    out
}
