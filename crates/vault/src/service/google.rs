//! Google Cloud KMS: `cryptoKeys.encrypt` and `cryptoKeys.decrypt` of its REST interface (v1). What is wrapped is bound to
//! its tenant by `additionalAuthenticatedData`, and both ways are checked by CRC-32C, as Google's guide on data integrity
//! asks.
//!
//! The credential is an access token, read for every request: who runs beside Chancery renews it. No metadata service is
//! asked: the fence lets nothing speak http off this machine.

use super::text::{answered, key_in, object, with_key};
use super::{Proof, Said, ServiceAnswer, ServiceError, ServiceRequest, SourceError};
use crate::wrapping::{Binding, WrappingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chancery_core::secret::Secret;
use serde_json::{Map, Value};
use std::fmt;

/// A key of Google Cloud KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Google {
    /// `projects/…/locations/…/keyRings/…/cryptoKeys/…`.
    name: String,
}

impl Google {
    /// Reads the resource name of a key, without a version.
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        let is_plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [
                "projects",
                project,
                "locations",
                location,
                "keyRings",
                ring,
                "cryptoKeys",
                key,
            ] if [project, location, ring, key]
                .into_iter()
                .all(|part| is_plain(part)) =>
            {
                Ok(Self {
                    name: text.to_owned(),
                })
            }
            _ => Err(SourceError::Google),
        }
    }

    pub(super) fn wrap_request(
        &self,
        key: &WrappingKey,
        binding: Binding,
        proof: &Proof<'_>,
    ) -> ServiceRequest {
        let checksum = ("plaintextCrc32c", number(crc32c(key.bytes())));
        let [data, data_checksum] = bound_to(binding);
        let body = with_key("plaintext", key, &[checksum, data, data_checksum]);
        self.request("encrypt", body, proof)
    }

    pub(super) fn unwrap_request(
        &self,
        wrapped: &[u8],
        binding: Binding,
        proof: &Proof<'_>,
    ) -> ServiceRequest {
        let ciphertext = ("ciphertext", Value::from(STANDARD.encode(wrapped)));
        let checksum = ("ciphertextCrc32c", number(crc32c(wrapped)));
        let [data, data_checksum] = bound_to(binding);
        let body = object(&[ciphertext, checksum, data, data_checksum]);
        self.request("decrypt", body, proof)
    }

    fn request(&self, operation: &str, body: Secret<Vec<u8>>, proof: &Proof<'_>) -> ServiceRequest {
        let token = proof.credential.expose_secret().trim();
        ServiceRequest {
            url: format!("https://cloudkms.googleapis.com/v1/{}:{operation}", self.name),
            content_type: "application/json",
            headers: vec![("authorization", Secret::new(format!("Bearer {token}")))],
            body,
        }
    }
}

impl fmt::Display for Google {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.name)
    }
}

pub(super) fn read_wrapped(answer: &ServiceAnswer) -> Result<Vec<u8>, ServiceError> {
    let mut all = succeeded(answer)?;
    // SECURITY: a key that was garbled on its way would be wrapped as it came, and open nothing ever after.
    for verified in [
        "verifiedPlaintextCrc32c",
        "verifiedAdditionalAuthenticatedDataCrc32c",
    ] {
        if all.get(verified) != Some(&Value::Bool(true)) {
            return Err(ServiceError::Malformed(
                "it does not say that it verified the checksums",
            ));
        }
    }
    let Some(Value::String(ciphertext)) = all.remove("ciphertext") else {
        return Err(ServiceError::Malformed("there is no ciphertext in it"));
    };
    let ciphertext = STANDARD.decode(ciphertext);
    let ciphertext = ciphertext.map_err(|_| ServiceError::Malformed("the ciphertext is not base64"))?;
    if checksum(&all, "ciphertextCrc32c") != Some(crc32c(&ciphertext)) {
        return Err(ServiceError::Malformed(
            "the ciphertext does not have its checksum",
        ));
    }
    // SECURITY: a service that gave the key back as it is would put it into the database.
    if ciphertext.len() <= 48 {
        return Err(ServiceError::Malformed("the ciphertext is too short to be one"));
    }
    Ok(ciphertext)
}

pub(super) fn read_unwrapped(answer: &ServiceAnswer) -> Result<WrappingKey, ServiceError> {
    let mut all = succeeded(answer)?;
    let checksum = checksum(&all, "plaintextCrc32c");
    let key = key_in(all.remove("plaintext"))?;
    if checksum != Some(crc32c(key.bytes())) {
        return Err(ServiceError::Malformed(
            "the plaintext does not have its checksum",
        ));
    }
    Ok(key)
}

fn bound_to(binding: Binding) -> [(&'static str, Value); 2] {
    let bytes = binding.encode();
    [
        (
            "additionalAuthenticatedData",
            Value::from(STANDARD.encode(&bytes)),
        ),
        ("additionalAuthenticatedDataCrc32c", number(crc32c(&bytes))),
    ]
}

/// As JSON writes numbers of 64 bits: in a string.
fn number(checksum: u32) -> Value {
    Value::from(checksum.to_string())
}

fn checksum(all: &Map<String, Value>, name: &str) -> Option<u32> {
    all.get(name)?.as_str()?.parse().ok()
}

fn succeeded(answer: &ServiceAnswer) -> Result<Map<String, Value>, ServiceError> {
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
    let (kind, message) = (text("status"), text("message"));
    let said = Said::new(&format!("{kind} {message}"));
    Err(match status {
        401 | 403 => ServiceError::Denied { status, said },
        // Decryption fails with INVALID_ARGUMENT and these words where another key or other data was used.
        400 if message.contains("Decryption failed") => ServiceError::NotOurs { status, said },
        429 | 500..=599 => ServiceError::Unavailable { status, said },
        _ => ServiceError::Refused { status, said },
    })
}

/// CRC-32C (Castagnoli; RFC 3720 appendix B.4), of a few dozen bytes: no table.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = (register & 1).wrapping_neg();
            register = (register >> 1) ^ (0x82f6_3b78 & mask);
        }
    }
    !register
}

pub(super) const PREFIX: &str = "gcp-kms:";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::KeyService;
    use chancery_core::time::Timestamp;
    use serde_json::json;

    const SOURCE: &str = "gcp-kms:projects/acme-1/locations/europe-west3/keyRings/chancery/cryptoKeys/root";

    fn service() -> KeyService {
        SOURCE.parse().unwrap()
    }

    fn answer(status: u16, body: &Value) -> ServiceAnswer {
        ServiceAnswer {
            status,
            body: Secret::new(body.to_string().into_bytes()),
        }
    }

    /// RFC 3720 appendix B.4, and the check value of the CRC catalogue.
    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn a_key_is_named_by_its_resource_name_alone() {
        assert_eq!(service().to_string(), SOURCE);
        for text in [
            "gcp-kms:root",
            "gcp-kms:projects/a/locations/b/keyRings/c/cryptoKeys/d/cryptoKeyVersions/1",
            "gcp-kms:projects/a/locations/b/keyRings/c/cryptoKeys/",
            "gcp-kms:projects/a/locations/b/keyRings/../cryptoKeys/d",
            "gcp-kms:projects/a/locations/b/keyRings/c/cryptoKeys/d?x",
        ] {
            assert_eq!(text.parse::<KeyService>(), Err(SourceError::Google), "{text}");
        }
    }

    /// Written from the API's reference, not recorded from the service.
    #[test]
    fn requests_are_those_of_the_reference() {
        let token = Secret::new("ya29.TOKEN\n".to_owned());
        let proof = Proof {
            credential: &token,
            now: Timestamp::from_seconds(0),
        };
        let key = WrappingKey::from_bytes(&[0; 32]).unwrap();
        let request = service().wrap_request(&key, Binding::Probe, &proof).unwrap();
        let name = SOURCE.strip_prefix(PREFIX).unwrap();
        assert_eq!(
            request.url,
            format!("https://cloudkms.googleapis.com/v1/{name}:encrypt")
        );
        assert_eq!(request.headers[0].1.expose_secret(), "Bearer ya29.TOKEN");
        let body: Value = serde_json::from_slice(request.body.expose_secret()).unwrap();
        assert_eq!(body["plaintext"], STANDARD.encode([0; 32]));
        assert_eq!(body["plaintextCrc32c"], "2324772522");
        assert_eq!(
            body["additionalAuthenticatedData"],
            STANDARD.encode(Binding::Probe.encode())
        );
        let request = service()
            .unwrap_request(&[9; 60], Binding::Probe, &proof)
            .unwrap();
        assert_eq!(
            request.url,
            format!("https://cloudkms.googleapis.com/v1/{name}:decrypt")
        );
        let body: Value = serde_json::from_slice(request.body.expose_secret()).unwrap();
        assert_eq!(body["ciphertext"], STANDARD.encode([9; 60]));
        assert_eq!(body["ciphertextCrc32c"], crc32c(&[9; 60]).to_string());
    }

    /// The attack, or the accident: bytes that changed on their way.
    #[test]
    fn an_answer_without_its_checksums_is_refused() {
        let wrapped = json!({
            "name": "x",
            "ciphertext": STANDARD.encode([9; 60]),
            "ciphertextCrc32c": crc32c(&[9; 60]).to_string(),
            "verifiedPlaintextCrc32c": true,
            "verifiedAdditionalAuthenticatedDataCrc32c": true,
        });
        assert_eq!(service().read_wrapped(&answer(200, &wrapped)), Ok(vec![9; 60]));
        for (name, value) in [
            ("verifiedPlaintextCrc32c", json!(false)),
            ("verifiedAdditionalAuthenticatedDataCrc32c", Value::Null),
            ("ciphertextCrc32c", json!("1")),
            ("ciphertext", json!("!")),
            ("ciphertext", Value::Null),
        ] {
            let mut changed = wrapped.clone();
            changed[name] = value;
            let refused = service().read_wrapped(&answer(200, &changed));
            assert!(matches!(refused, Err(ServiceError::Malformed(_))), "{name}");
        }
        let key = json!({ "plaintext": STANDARD.encode([0; 32]), "plaintextCrc32c": "2324772522" });
        assert!(service().read_unwrapped(&answer(200, &key)).is_ok());
        for checksum in [json!("2324772523"), Value::Null, json!(2_324_772_522_u32)] {
            let mut changed = key.clone();
            changed["plaintextCrc32c"] = checksum;
            let refused = service().read_unwrapped(&answer(200, &changed)).err();
            assert!(matches!(refused, Some(ServiceError::Malformed(_))));
        }
    }

    #[test]
    fn errors_are_told_apart() {
        let error = |status: u16, kind: &str, message: &str| {
            let body = json!({ "error": { "code": status, "message": message, "status": kind } });
            service().read_unwrapped(&answer(status, &body)).err().unwrap()
        };
        let failed = "Decryption failed: verify that 'name' refers to the correct CryptoKey.";
        assert!(matches!(
            error(400, "INVALID_ARGUMENT", failed),
            ServiceError::NotOurs { .. }
        ));
        assert!(matches!(
            error(401, "UNAUTHENTICATED", "x"),
            ServiceError::Denied { .. }
        ));
        assert!(matches!(
            error(403, "PERMISSION_DENIED", "x"),
            ServiceError::Denied { .. }
        ));
        assert!(matches!(
            error(503, "UNAVAILABLE", "x"),
            ServiceError::Unavailable { .. }
        ));
        assert!(matches!(
            error(404, "NOT_FOUND", "x"),
            ServiceError::Refused { .. }
        ));
        assert!(matches!(
            error(400, "FAILED_PRECONDITION", "disabled"),
            ServiceError::Refused { .. }
        ));
    }
}
