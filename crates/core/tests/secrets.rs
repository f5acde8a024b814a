//! Secrets do not print: what can hold one is filled with a marker and searched for it, and no error repeats
//! what it was given, because people paste secrets into the wrong place.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of test functions"
)]

use chancery_core::agent::AgentSpec;
use chancery_core::binding::RuntimeBindingSpec;
use chancery_core::client::ClientSpec;
use chancery_core::connected_account::ConnectedAccountSpec;
use chancery_core::connection::ConnectionSpec;
use chancery_core::event::{Change, Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::grant::GrantSpec;
use chancery_core::id::{AgentId, ClientId, DecisionId, EventId, Id as _, TenantId, UserId};
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::name::Name;
use chancery_core::noun::{Noun, Spec};
use chancery_core::random::{DangerSeededRandom, Random};
use chancery_core::resource::ResourceSpec;
use chancery_core::scope::{Authority, Scope, ScopeSet};
use chancery_core::secret::{Secret, TokenDigest, generate};
use chancery_core::uri::{ResourceUri, check_base_url};
use chancery_core::user::UserSpec;
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// A secret as a person would paste it; no parser of this crate takes it.
const MARKER: &str = "MARKER secret\u{7f}0123456789abcdef";

fn searched(printed: &str) {
    assert!(!printed.contains("MARKER"), "a secret prints: {printed}");
    assert!(
        !printed.contains("0123456789abcdef"),
        "a secret prints: {printed}"
    );
}

/// What something shows to a log and to a person.
fn shown(error: &(impl Debug + Display)) -> String {
    format!("{error} {error:?} {error:#?}")
}

fn refuses<T: FromStr<Err: Debug + Display> + Debug>() {
    searched(&shown(&MARKER.parse::<T>().unwrap_err()));
}

#[test]
fn holders_of_secrets_do_not_print_them() {
    /// As a type of the product holds them.
    #[derive(Debug)]
    #[expect(dead_code, reason = "only printed")]
    struct Holder {
        text: Secret<String>,
        bytes: Option<Secret<Vec<u8>>>,
        digest: TokenDigest,
    }

    let mut digest = [0; 32];
    digest.copy_from_slice(&b"MARKER0123456789abcdefMARKER0123456789"[..32]);
    let holder = Holder {
        text: Secret::new(MARKER.to_owned()),
        bytes: Some(Secret::new(MARKER.as_bytes().to_vec())),
        digest: TokenDigest::new(digest),
    };
    searched(&format!("{holder:?} {holder:#?}"));
    let bytes = format!("{:?}", MARKER.as_bytes());
    assert!(!format!("{holder:?}").contains(bytes.trim_matches(['[', ']'])));
    let read: Secret<String> = serde_json::from_value(MARKER.into()).unwrap();
    searched(&format!("{read:?}"));
}

#[test]
fn a_generated_secret_does_not_print() {
    let random: &dyn Random = &DangerSeededRandom::new(7);
    let secret = generate("cs_", random);
    let random_part = secret.expose_secret().strip_prefix("cs_").unwrap();
    assert!(random_part.len() > 40 && !format!("{secret:?}").contains(random_part));
}

#[test]
fn errors_do_not_repeat_what_was_read() {
    refuses::<Name>();
    refuses::<Scope>();
    refuses::<ResourceUri>();
    refuses::<AgentId>();
    refuses::<ClientId>();
    refuses::<DecisionId>();
    searched(&shown(&ScopeSet::parse(MARKER).unwrap_err()));
    searched(&shown(&Authority::parse(MARKER).unwrap_err()));
    searched(&shown(&check_base_url(MARKER).unwrap_err()));
    let with_user = format!("https://x:{}@host.example", "MARKER0123456789abcdef");
    searched(&shown(&check_base_url(&with_user).unwrap_err()));
    for text in [MARKER, "\"MARKER0123456789abcdef\""] {
        searched(&shown(&serde_json::from_str::<Name>(text).unwrap_err()));
        searched(&shown(&serde_json::from_str::<AgentId>(text).unwrap_err()));
    }
}

#[test]
fn a_noun_that_is_refused_is_not_repeated() {
    fn refused<S: Spec>(spec: serde_json::Value) {
        let name: Name = "x".parse().unwrap();
        match serde_json::from_value::<S>(spec) {
            Ok(spec) => searched(&shown(&spec.check(&name).unwrap_err())),
            Err(error) => searched(&shown(&error)),
        }
    }
    let marker = MARKER;
    refused::<UserSpec>(serde_json::json!({ "issuer": "corp", "subject": marker.repeat(20) }));
    refused::<AgentSpec>(serde_json::json!({ "description": marker.repeat(60) }));
    refused::<AgentSpec>(serde_json::json!({ "owner": marker }));
    refused::<ClientSpec>(serde_json::json!({
        "agent": "bot", "method": "client_secret_basic", "jwks": { "keys": [{ "d": marker }] },
    }));
    refused::<RuntimeBindingSpec>(serde_json::json!({
        "issuer": "c", "audience": "a", "agent": "bot", "claims": { "sub": format!("{marker}*") },
    }));
    refused::<TrustedIssuerSpec>(serde_json::json!({
        "issuer": marker, "purposes": ["runtimes"], "keys": "discovery",
    }));
    refused::<ResourceSpec>(serde_json::json!({ "uri": marker, "scopes": {} }));
    refused::<ConnectionSpec>(serde_json::json!({
        "base_url": format!("https://{marker}"), "credential": "none", "owner_level": "tenant",
    }));
    refused::<ConnectionSpec>(serde_json::json!({
        "base_url": "https://api.example", "owner_level": "tenant",
        "credential": { "api_key": { "parts": [{ "name": "key", "placement": { "header": { "name": marker } } }] } },
    }));
    refused::<ConnectedAccountSpec>(serde_json::json!({
        "connection": "github", "owner": "tenant", "fingerprint": marker,
    }));
    refused::<GrantSpec>(serde_json::json!({
        "agent": "bot", "principal": "itself", "resource": "notes", "scopes": [marker],
    }));
}

/// Events are made of ids and of parts that the writer chose; nothing in them takes a secret. What is left to
/// hold is that the words for them, which stand in every leaf for good, come from closed lists.
#[test]
fn an_event_shows_closed_words_and_ids_only() {
    let kinds = [
        EventKind::TokenIssued,
        EventKind::TokenRevoked,
        EventKind::AuthenticationFailed,
        EventKind::Changed(Noun::Client, Change::SecretReset),
        EventKind::KeyChanged,
        EventKind::ManagementDenied,
        EventKind::LogStarted,
        EventKind::LogRestored,
        EventKind::PartErased,
        EventKind::Enrolled,
    ];
    let secret = Secret::new(MARKER.to_owned());
    for kind in kinds {
        let event = Event {
            id: EventId::from_bytes([1; 16]),
            tenant: TenantId::from_bytes([2; 16]),
            time: chancery_core::time::Timestamp::default(),
            kind,
            outcome: EventOutcome::Failed,
            actor: chancery_core::actor::Actor::User(UserId::from_bytes([3; 16])),
            ids: vec![("client", ClientId::from_bytes([4; 16]).to_string())],
            decision: None,
            parts: vec![Part {
                name: "request",
                class: PartClass::Arguments,
                content: serde_json::json!({ "proof": format!("{secret:?}") }).to_string(),
            }],
        };
        searched(&format!("{event:?} {event:#?} {} {}", event.kind, event.actor));
        let word = event.kind.to_string();
        assert!(
            word.bytes()
                .all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte)),
            "{word}"
        );
    }
}
