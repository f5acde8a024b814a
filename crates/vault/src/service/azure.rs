//! Azure Key Vault and Managed HSM: `wrapkey` and `unwrapkey` of their REST interface (api-version 7.4) with RSA-OAEP-256.
//!
//! RSA takes no associated data, so that a key is bound to its tenant here alone (see [`crate::tenant`]). The name of a key
//! holds its version: what one version wrapped another does not unwrap. The credential is an access token, read for every
//! request. No metadata service is asked: the fence lets nothing speak http off this machine.

use super::text::{answered, object};
use super::{Proof, Said, ServiceAnswer, ServiceError, ServiceRequest, SourceError};
use crate::wrapping::WrappingKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::secret::Secret;
use serde_json::{Map, Value};
use std::fmt;
use zeroize::{Zeroize as _, Zeroizing};

/// A version of a key of Azure Key Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Azure {
    /// Its id, which is a URL: `https://VAULT.vault.azure.net/keys/NAME/VERSION`.
    id: String,
}

impl Azure {
    /// Reads the id of a version of a key.
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        let is_plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let parts: Vec<&str> = text.split('/').collect();
        let ["https:", "", host, "keys", name, version] = parts.as_slice() else {
            return Err(SourceError::Azure);
        };
        // SECURITY: the token goes to a vault of Azure's, to nobody else.
        let vault = VAULTS.iter().find_map(|domain| host.strip_suffix(domain));
        if vault.is_some_and(is_plain) && is_plain(name) && is_plain(version) {
            return Ok(Self { id: text.to_owned() });
        }
        Err(SourceError::Azure)
    }

    pub(super) fn wrap_request(&self, key: &WrappingKey, proof: &Proof<'_>) -> ServiceRequest {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(key.bytes()));
        self.request("wrapkey", &encoded, proof)
    }

    pub(super) fn unwrap_request(&self, wrapped: &[u8], proof: &Proof<'_>) -> ServiceRequest {
        self.request("unwrapkey", &URL_SAFE_NO_PAD.encode(wrapped), proof)
    }

    fn request(&self, operation: &str, value: &str, proof: &Proof<'_>) -> ServiceRequest {
        let token = proof.credential.expose_secret().trim();
        ServiceRequest {
            url: format!("{}/{operation}?api-version=7.4", self.id),
            content_type: "application/json",
            headers: vec![("authorization", Secret::new(format!("Bearer {token}")))],
            body: object(&[
                ("alg", Value::from("RSA-OAEP-256")),
                ("value", Value::from(value)),
            ]),
        }
    }

    pub(super) fn read_wrapped(&self, answer: &ServiceAnswer) -> Result<Vec<u8>, ServiceError> {
        let wrapped = self.value(answer, false)?;
        // SECURITY: a service that gave the key back as it is would put it into the database. RSA has 2048 bits at least.
        if wrapped.len() < 256 {
            return Err(ServiceError::Malformed(
                "the value is too short to be a wrapped key",
            ));
        }
        Ok(wrapped.to_vec())
    }

    pub(super) fn read_unwrapped(&self, answer: &ServiceAnswer) -> Result<WrappingKey, ServiceError> {
        let value = self.value(answer, true)?;
        WrappingKey::from_bytes(&value).map_err(|_| ServiceError::Malformed("the value is not a key of ours"))
    }

    fn value(&self, answer: &ServiceAnswer, unwraps: bool) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        let mut all = succeeded(answer, unwraps)?;
        let kid = all.get("kid").and_then(Value::as_str);
        if !kid.is_some_and(|kid| kid.eq_ignore_ascii_case(&self.id)) {
            return Err(ServiceError::Malformed("it was made with another key"));
        }
        let Some(Value::String(mut encoded)) = all.remove("value") else {
            return Err(ServiceError::Malformed("there is no value in it"));
        };
        let decoded = URL_SAFE_NO_PAD.decode(&encoded).map(Zeroizing::new);
        encoded.zeroize();
        decoded.map_err(|_| ServiceError::Malformed("the value is not base64url"))
    }
}

impl fmt::Display for Azure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.id)
    }
}

fn succeeded(answer: &ServiceAnswer, unwraps: bool) -> Result<Map<String, Value>, ServiceError> {
    let status = answer.status;
    if status == 200 {
        return answered(answer);
    }
    let all = answered(answer).unwrap_or_default();
    let text = |name: &str| {
        let found = all
            .get("error")
            .and_then(|error| error.get(name))
            .and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let said = Said::new(&format!("{} {}", text("code"), text("message")));
    Err(match status {
        401 | 403 => ServiceError::Denied { status, said },
        // What does not decrypt is a bad parameter.
        400 if unwraps => ServiceError::NotOurs { status, said },
        429 | 500..=599 => ServiceError::Unavailable { status, said },
        _ => ServiceError::Refused { status, said },
    })
}

const VAULTS: &[&str] = &[
    ".vault.azure.net",
    ".managedhsm.azure.net",
    ".vault.azure.cn",
    ".vault.usgovcloudapi.net",
];
pub(super) const PREFIX: &str = "azure-kms:";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::KeyService;
    use crate::wrapping::Binding;
    use chancery_core::time::Timestamp;
    use serde_json::json;

    const SOURCE: &str =
        "azure-kms:https://acme.vault.azure.net/keys/chancery/0123456789abcdef0123456789abcdef";

    fn service() -> KeyService {
        SOURCE.parse().unwrap()
    }

    fn kid() -> &'static str {
        SOURCE.strip_prefix(PREFIX).unwrap()
    }

    fn answer(status: u16, body: &Value) -> ServiceAnswer {
        ServiceAnswer {
            status,
            body: Secret::new(body.to_string().into_bytes()),
        }
    }

    /// The attack: a token for Azure that is sent to somebody else.
    #[test]
    fn a_key_is_a_version_in_a_vault_of_azures() {
        assert_eq!(service().to_string(), SOURCE);
        for text in [
            "azure-kms:https://acme.vault.azure.net/keys/chancery",
            "azure-kms:http://acme.vault.azure.net/keys/chancery/1",
            "azure-kms:https://acme.vault.azure.net.evil.example/keys/chancery/1",
            "azure-kms:https://evil.example/keys/chancery/1",
            "azure-kms:https://a@b.vault.azure.net/keys/chancery/1",
            "azure-kms:https://.vault.azure.net/keys/chancery/1",
            "azure-kms:https://acme.vault.azure.net/secrets/chancery/1",
            "azure-kms:https://acme.vault.azure.net/keys/chancery/1?x",
            "azure-kms:https://acme.vault.azure.net/keys/../1",
        ] {
            assert_eq!(text.parse::<KeyService>(), Err(SourceError::Azure), "{text}");
        }
    }

    /// Written from the API's reference, not recorded from the service.
    #[test]
    fn requests_are_those_of_the_reference() {
        let token = Secret::new("eyJ.TOKEN\n".to_owned());
        let proof = Proof {
            credential: &token,
            now: Timestamp::from_seconds(0),
        };
        let key = WrappingKey::from_bytes(&[7; 32]).unwrap();
        let request = service().wrap_request(&key, Binding::Probe, &proof).unwrap();
        assert_eq!(request.url, format!("{}/wrapkey?api-version=7.4", kid()));
        assert_eq!(request.headers[0].1.expose_secret(), "Bearer eyJ.TOKEN");
        let body: Value = serde_json::from_slice(request.body.expose_secret()).unwrap();
        assert_eq!(
            body,
            json!({ "alg": "RSA-OAEP-256", "value": URL_SAFE_NO_PAD.encode([7; 32]) })
        );
        let request = service()
            .unwrap_request(&[9; 256], Binding::Probe, &proof)
            .unwrap();
        assert_eq!(request.url, format!("{}/unwrapkey?api-version=7.4", kid()));
    }

    #[test]
    fn an_answer_by_another_key_or_without_a_wrapped_key_is_refused() {
        let value = |kid: &str, bytes: &[u8]| json!({ "kid": kid, "value": URL_SAFE_NO_PAD.encode(bytes) });
        assert_eq!(
            service().read_wrapped(&answer(200, &value(kid(), &[9; 256]))),
            Ok(vec![9; 256])
        );
        assert!(
            service()
                .read_unwrapped(&answer(200, &value(kid(), &[7; 32])))
                .is_ok()
        );
        let other = "https://acme.vault.azure.net/keys/chancery/ffffffffffffffffffffffffffffffff";
        for body in [
            value(other, &[9; 256]),
            value(kid(), &[7; 32]),
            json!({ "kid": kid() }),
            json!({ "kid": kid(), "value": "!" }),
            json!({ "value": URL_SAFE_NO_PAD.encode([9; 256]) }),
        ] {
            let refused = service().read_wrapped(&answer(200, &body));
            assert!(matches!(refused, Err(ServiceError::Malformed(_))), "{body}");
        }
        let longer = service()
            .read_unwrapped(&answer(200, &value(kid(), &[7; 33])))
            .err();
        assert!(matches!(longer, Some(ServiceError::Malformed(_))));
    }

    #[test]
    fn errors_are_told_apart() {
        let body = |code: &str| json!({ "error": { "code": code, "message": "x" } });
        let unwrapping = |status, code| {
            service()
                .read_unwrapped(&answer(status, &body(code)))
                .err()
                .unwrap()
        };
        assert!(matches!(
            unwrapping(400, "BadParameter"),
            ServiceError::NotOurs { .. }
        ));
        assert!(matches!(
            unwrapping(401, "Unauthorized"),
            ServiceError::Denied { .. }
        ));
        assert!(matches!(
            unwrapping(403, "Forbidden"),
            ServiceError::Denied { .. }
        ));
        assert!(matches!(
            unwrapping(429, "Throttled"),
            ServiceError::Unavailable { .. }
        ));
        assert!(matches!(
            unwrapping(404, "KeyNotFound"),
            ServiceError::Refused { .. }
        ));
        let wrapping = service().read_wrapped(&answer(400, &body("BadParameter"))).err();
        assert!(matches!(wrapping, Some(ServiceError::Refused { .. })));
    }
}
