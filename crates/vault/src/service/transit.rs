//! The Transit engine of OpenBao and HashiCorp Vault: `POST /v1/MOUNT/encrypt/KEY` and `…/decrypt/KEY`, as their API
//! documentation has it ("Transit secrets engine (API)", "HTTP status codes").
//!
//! What a key wraps is bound to its tenant by `associated_data`, and by `context` too, which keys that derive another
//! key for each context (`derived=true`) demand and others ignore. Rotating the key inside Transit needs nothing here:
//! the answer names its version, and versions below `min_decryption_version` are refused by Transit.

use super::text::{answered, key_in, object, with_key};
use super::{Said, ServiceAnswer, ServiceError, ServiceRequest, SourceError};
use crate::wrapping::{Binding, WrappingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chancery_core::secret::Secret;
use serde_json::{Map, Value};
use std::fmt;

/// A key of Transit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transit {
    /// Scheme and host.
    origin: String,
    /// Where the engine is mounted, a namespace before it included.
    mount: String,
    key: String,
}

impl Transit {
    /// Reads `https://HOST/v1/MOUNT/KEY`. Whether plain http may be spoken to that host is the fence's to say.
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        let (origin, path) = text.split_once("/v1/").ok_or(SourceError::Transit)?;
        let (mount, key) = path.rsplit_once('/').ok_or(SourceError::Transit)?;
        let host = origin.strip_prefix("https://").or(origin.strip_prefix("http://"));
        // SECURITY: mount and key become segments of a path, so they hold nothing that could leave it.
        let is_plain = |part: &str| {
            !part.is_empty()
                && part.bytes().any(|byte| byte != b'.')
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let is_host = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte))
        };
        if host.is_some_and(is_host) && mount.split('/').all(is_plain) && is_plain(key) {
            return Ok(Self {
                origin: origin.to_owned(),
                mount: mount.to_owned(),
                key: key.to_owned(),
            });
        }
        Err(SourceError::Transit)
    }

    /// Mount and key: the host may change, as when a cluster gets another name.
    pub(super) fn name(&self) -> String {
        format!("{PREFIX}{}/{}", self.mount, self.key)
    }

    pub(super) fn wrap_request(
        &self,
        key: &WrappingKey,
        binding: Binding,
        token: &Secret<String>,
    ) -> ServiceRequest {
        self.request("encrypt", with_key("plaintext", key, &bound_to(binding)), token)
    }

    pub(super) fn unwrap_request(
        &self,
        wrapped: &[u8],
        binding: Binding,
        token: &Secret<String>,
    ) -> Result<ServiceRequest, ServiceError> {
        let ciphertext = ciphertext(wrapped).ok_or(ServiceError::Stored)?;
        let [data, context] = bound_to(binding);
        let body = object(&[("ciphertext", Value::from(ciphertext)), data, context]);
        Ok(self.request("decrypt", body, token))
    }

    fn request(&self, operation: &str, body: Secret<Vec<u8>>, token: &Secret<String>) -> ServiceRequest {
        let Self { origin, mount, key } = self;
        ServiceRequest {
            url: format!("{origin}/v1/{mount}/{operation}/{key}"),
            content_type: "application/json",
            headers: vec![(
                "x-vault-token",
                Secret::new(token.expose_secret().trim().to_owned()),
            )],
            body,
        }
    }
}

impl fmt::Display for Transit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/v1/{}/{}", self.origin, self.mount, self.key)
    }
}

pub(super) fn read_wrapped(answer: &ServiceAnswer) -> Result<Vec<u8>, ServiceError> {
    let mut data = data(answer)?;
    let Some(Value::String(text)) = data.remove("ciphertext") else {
        return Err(ServiceError::Malformed("there is no ciphertext in it"));
    };
    // SECURITY: a service that gave the key back as it is would put it into the database.
    if ciphertext(text.as_bytes()).is_none() {
        return Err(ServiceError::Malformed("the ciphertext is none of Transit's"));
    }
    Ok(text.into_bytes())
}

pub(super) fn read_unwrapped(answer: &ServiceAnswer) -> Result<WrappingKey, ServiceError> {
    key_in(data(answer)?.remove("plaintext"))
}

fn bound_to(binding: Binding) -> [(&'static str, Value); 2] {
    let encoded = STANDARD.encode(binding.encode());
    [
        ("associated_data", Value::from(encoded.as_str())),
        ("context", Value::from(encoded)),
    ]
}

/// `vault:v1:…`: the version of the key, then base64.
fn ciphertext(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (version, encoded) = text.strip_prefix("vault:v")?.split_once(':')?;
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    let is_longer_than_a_key = STANDARD.decode(encoded).is_ok_and(|bytes| bytes.len() > 32);
    (is_version && is_longer_than_a_key).then_some(text)
}

/// What an answer holds, if it is a success.
fn data(answer: &ServiceAnswer) -> Result<Map<String, Value>, ServiceError> {
    if answer.status == 200 {
        return match answered(answer)?.remove("data") {
            Some(Value::Object(data)) => Ok(data),
            Some(_) | None => Err(ServiceError::Malformed("there is no data in it")),
        };
    }
    let status = answer.status;
    let text = errors(answer);
    let said = Said::new(&text);
    let is_not_ours = ["message authentication failed", "invalid ciphertext", "too old"]
        .iter()
        .any(|words| text.contains(words));
    Err(match status {
        // Transit answers 500, not 400, where the ciphertext is authentic under another key or for another context only.
        400 | 500 if is_not_ours => ServiceError::NotOurs { status, said },
        401 | 403 => ServiceError::Denied { status, said },
        // 412, 472 and 473 are a standby or a node that is behind; 501 is not initialised; 503 sealed.
        412 | 429 | 472 | 473 | 500..=599 => ServiceError::Unavailable { status, said },
        _ => ServiceError::Refused { status, said },
    })
}

/// What the list `errors` says, as one line.
fn errors(answer: &ServiceAnswer) -> String {
    let listed = answered(answer).ok().and_then(|mut all| all.remove("errors"));
    let Some(Value::Array(listed)) = listed else {
        return String::new();
    };
    let texts: Vec<&str> = listed.iter().filter_map(Value::as_str).collect();
    texts.join("; ")
}

pub(super) const PREFIX: &str = "transit:";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{KeyService, Proof};
    use chancery_core::id::{Id as _, TenantId};
    use chancery_core::random::DangerSeededRandom;
    use chancery_core::time::Timestamp;

    const SOURCE: &str = "transit:https://bao.example:8200/v1/team-a/transit/chancery";

    fn service() -> KeyService {
        SOURCE.parse().unwrap()
    }

    fn token() -> Secret<String> {
        Secret::new("hvs.TOKEN\n".to_owned())
    }

    fn wrap(key: &WrappingKey, binding: Binding) -> ServiceRequest {
        let token = token();
        let proof = Proof {
            credential: &token,
            now: Timestamp::from_seconds(0),
        };
        service().wrap_request(key, binding, &proof).unwrap()
    }

    fn unwrapping(stored: &[u8]) -> Result<ServiceRequest, ServiceError> {
        let token = token();
        let proof = Proof {
            credential: &token,
            now: Timestamp::from_seconds(0),
        };
        service().unwrap_request(stored, Binding::Probe, &proof)
    }

    fn answer(status: u16, body: &str) -> ServiceAnswer {
        ServiceAnswer {
            status,
            body: Secret::new(body.as_bytes().to_vec()),
        }
    }

    #[test]
    fn the_source_names_host_mount_and_key_and_nothing_that_leaves_the_path() {
        assert_eq!(service().to_string(), SOURCE);
        for text in [
            "transit:bao.example/v1/transit/key",
            "transit:https://bao.example/transit/key",
            "transit:https://bao.example/v1/key",
            "transit:https://bao.example/v1/transit/",
            "transit:https://bao.example/v1//key",
            "transit:https://bao.example/v1/transit/../key",
            "transit:https://bao.example/v1/transit/key?x=y",
            "transit:https://bao.example/v1/transit/key#x",
            "transit:https://user@bao.example/v1/transit/key",
            "transit:ftp://bao.example/v1/transit/key",
            "transit:https:///v1/transit/key",
            "transit:https://bao.example/x/v1/transit/key",
        ] {
            assert_eq!(text.parse::<KeyService>(), Err(SourceError::Transit), "{text}");
        }
    }

    #[test]
    fn the_id_is_that_of_mount_and_key_wherever_the_server_is() {
        let id = |text: &str| text.parse::<KeyService>().unwrap().root_key_id().unwrap();
        let here = id("transit:https://old.example/v1/transit/key");
        assert_eq!(here, id("transit:https://new.example:8200/v1/transit/key"));
        assert_ne!(here, id("transit:https://old.example/v1/transit/other"));
        assert_ne!(here, id("transit:https://old.example/v1/another/key"));
        // Part of the stored format: it never changes.
        assert_eq!(here.to_string(), "8c381eb2bad494f3");
    }

    /// Written from the API's documentation, not recorded from a server.
    #[test]
    fn requests_are_those_of_the_documentation() {
        let key = WrappingKey::from_bytes(&[7; 32]).unwrap();
        let request = wrap(&key, Binding::Probe);
        assert_eq!(
            request.url,
            "https://bao.example:8200/v1/team-a/transit/encrypt/chancery"
        );
        assert_eq!(request.headers[0].0, "x-vault-token");
        assert_eq!(request.headers[0].1.expose_secret(), "hvs.TOKEN");
        let body: Value = serde_json::from_slice(request.body.expose_secret()).unwrap();
        assert_eq!(body["plaintext"], STANDARD.encode([7; 32]));
        assert_eq!(body["associated_data"], STANDARD.encode(Binding::Probe.encode()));
        assert_eq!(body["context"], body["associated_data"]);
        assert!(!format!("{request:?}").contains("TOKEN"));

        let stored = format!("vault:v3:{}", STANDARD.encode([1; 60]));
        let request = unwrapping(stored.as_bytes()).unwrap();
        assert_eq!(
            request.url,
            "https://bao.example:8200/v1/team-a/transit/decrypt/chancery"
        );
        let body: Value = serde_json::from_slice(request.body.expose_secret()).unwrap();
        assert_eq!(body["ciphertext"], stored);
        assert_eq!(body["associated_data"], STANDARD.encode(Binding::Probe.encode()));
    }

    #[test]
    fn requests_for_two_tenants_are_bound_to_each() {
        let key = WrappingKey::generate(&DangerSeededRandom::new(1));
        let bodies = [1, 2].map(|byte| {
            let binding = Binding::Tenant(TenantId::from_bytes([byte; 16]));
            let request = wrap(&key, binding);
            request.body.expose_secret().clone()
        });
        assert_ne!(bodies[0], bodies[1]);
    }

    #[test]
    fn what_transit_made_is_read_and_given_back() {
        let ciphertext = format!("vault:v12:{}", STANDARD.encode([1; 60]));
        let body = format!(
            r#"{{"request_id":"x","lease_id":"","renewable":false,"data":{{"ciphertext":"{ciphertext}","key_version":12}},"warnings":null}}"#
        );
        assert_eq!(
            service().read_wrapped(&answer(200, &body)),
            Ok(ciphertext.into_bytes())
        );
        let body = format!(r#"{{"data":{{"plaintext":"{}"}}}}"#, STANDARD.encode([7; 32]));
        let key = service().read_unwrapped(&answer(200, &body)).unwrap();
        assert_eq!(key.bytes(), &[7; 32]);
    }

    /// The attack: a service that answers with the key itself, or with nothing that it could unwrap again.
    #[test]
    fn what_is_no_ciphertext_is_never_stored() {
        for text in [
            "",
            "vault:v1:",
            "vault:v:AAAA",
            "vault:v1:!!!!",
            "vault:vx:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ==",
            &STANDARD.encode([7; 60]),
            &format!("vault:v1:{}", STANDARD.encode([7; 32])),
        ] {
            let body = format!(r#"{{"data":{{"ciphertext":"{text}"}}}}"#);
            let refused = service().read_wrapped(&answer(200, &body));
            assert!(matches!(refused, Err(ServiceError::Malformed(_))), "{text}");
            let stored = unwrapping(text.as_bytes());
            assert_eq!(stored.err(), Some(ServiceError::Stored), "{text}");
        }
    }

    #[test]
    fn garbage_is_refused_and_is_never_a_key() {
        for body in [
            "",
            "not json",
            "[]",
            "{}",
            r#"{"data":null}"#,
            r#"{"data":{}}"#,
            r#"{"data":{"plaintext":7}}"#,
            r#"{"data":{"plaintext":"!"}}"#,
            r#"{"data":{"plaintext":"AAAA"}}"#,
            r#"{"data":{"plaintext":"AAAA","plaintext":"AAAA"}}"#,
        ] {
            let refused = service().read_unwrapped(&answer(200, body)).err();
            assert!(
                matches!(refused, Some(ServiceError::Malformed(_))),
                "{body}: {refused:?}"
            );
        }
    }

    #[test]
    fn errors_say_whether_to_wait_to_mend_the_credential_or_the_key() {
        let read = |status, said: &str| {
            let body = serde_json::json!({ "errors": [said] }).to_string();
            service().read_unwrapped(&answer(status, &body)).err().unwrap()
        };
        for status in [412, 429, 472, 473, 500, 502, 503] {
            let error = read(status, "Vault is sealed");
            assert!(matches!(error, ServiceError::Unavailable { .. }), "{status}");
        }
        let denied = read(403, "permission denied");
        assert!(matches!(denied, ServiceError::Denied { .. }));
        assert_eq!(
            denied.to_string(),
            "the key service refuses our credential (status 403: permission denied)"
        );
        for (status, said) in [
            (
                500,
                "1 error occurred:\n\t* cipher: message authentication failed\n\n",
            ),
            (400, "cipher: message authentication failed"),
            (400, "invalid ciphertext: no prefix"),
            (
                400,
                "ciphertext or signature version is disallowed by policy (too old)",
            ),
        ] {
            assert!(
                matches!(read(status, said), ServiceError::NotOurs { .. }),
                "{said}"
            );
        }
        for (status, said) in [
            (400, "encryption key not found"),
            (404, ""),
            (405, "unsupported operation"),
            (301, ""),
        ] {
            assert!(
                matches!(read(status, said), ServiceError::Refused { .. }),
                "{said}"
            );
        }
        // A page of a proxy in between is no list of errors.
        let page = service()
            .read_unwrapped(&answer(502, "<html>bad gateway</html>"))
            .err();
        assert!(matches!(
            page,
            Some(ServiceError::Unavailable { status: 502, .. })
        ));
    }
}
