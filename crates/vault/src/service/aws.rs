//! AWS KMS: `Encrypt` and `Decrypt` of its JSON interface (API version 2014-11-01), signed by Signature Version 4 ("Create
//! a signed AWS API request"). What is wrapped is bound to its tenant by the encryption context, which CloudTrail shows.
//!
//! Credentials are those of a shared credentials file, read for every request. No metadata service is asked: the fence
//! lets nothing speak http off this machine.

use super::text::{answered, key_in, object, with_key};
use super::{Proof, Said, ServiceAnswer, ServiceError, ServiceRequest, SourceError};
use crate::wrapping::{Binding, WrappingKey};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use serde_json::{Value, json};
use std::fmt;

/// A key of AWS KMS, by the ARN of the key or of an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aws {
    arn: String,
    region: String,
    /// Scheme and host, where it is not the region's own: an endpoint in a private network.
    endpoint: Option<String>,
}

impl Aws {
    /// Reads `arn:PARTITION:kms:REGION:ACCOUNT:key/ID`, or an alias, and after a `@` an endpoint.
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        let (arn, endpoint) = match text.split_once('@') {
            None => (text, None),
            Some((arn, endpoint)) => (arn, Some(endpoint)),
        };
        let is_plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte))
        };
        let is_endpoint = |endpoint: &str| {
            let host = endpoint
                .strip_prefix("https://")
                .or(endpoint.strip_prefix("http://"));
            host.is_some_and(|host| {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte))
            })
        };
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "kms", region, account, name] = parts.as_slice() else {
            return Err(SourceError::Aws);
        };
        let is_key = name.starts_with("key/") || name.starts_with("alias/");
        if !is_key
            || ![partition, region, account, name]
                .into_iter()
                .all(|part| is_plain(part))
        {
            return Err(SourceError::Aws);
        }
        if endpoint.is_some_and(|endpoint| !is_endpoint(endpoint)) {
            return Err(SourceError::Aws);
        }
        Ok(Self {
            region: (*region).to_owned(),
            arn: arn.to_owned(),
            endpoint: endpoint.map(str::to_owned),
        })
    }

    /// The ARN: it names the key in the whole world.
    pub(super) fn name(&self) -> String {
        format!("{PREFIX}{}", self.arn)
    }

    pub(super) fn wrap_request(
        &self,
        key: &WrappingKey,
        binding: Binding,
        proof: &Proof<'_>,
    ) -> Result<ServiceRequest, ServiceError> {
        let body = with_key("Plaintext", key, &[self.key_id(), context(binding)]);
        self.request("TrentService.Encrypt", body, proof)
    }

    pub(super) fn unwrap_request(
        &self,
        wrapped: &[u8],
        binding: Binding,
        proof: &Proof<'_>,
    ) -> Result<ServiceRequest, ServiceError> {
        let blob = ("CiphertextBlob", Value::from(STANDARD.encode(wrapped)));
        // SECURITY: with the key's name, KMS opens nothing that another key of the account encrypted.
        let body = object(&[blob, self.key_id(), context(binding)]);
        self.request("TrentService.Decrypt", body, proof)
    }

    fn key_id(&self) -> (&'static str, Value) {
        ("KeyId", Value::from(self.arn.as_str()))
    }

    fn request(
        &self,
        target: &'static str,
        body: Secret<Vec<u8>>,
        proof: &Proof<'_>,
    ) -> Result<ServiceRequest, ServiceError> {
        let credentials = Credentials::parse(proof.credential)?;
        let origin = self.origin();
        let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
        let date = basic_date(proof.now);
        let mut headers = vec![
            ("content-type", CONTENT_TYPE.to_owned()),
            ("host", host.to_owned()),
            ("x-amz-date", date.clone()),
        ];
        headers.extend(
            credentials
                .token
                .iter()
                .map(|token| ("x-amz-security-token", token.expose_secret().clone())),
        );
        headers.push(("x-amz-target", target.to_owned()));
        let scope = Scope {
            date: &date,
            region: &self.region,
            service: "kms",
        };
        let authorization = authorization(&credentials, &scope, "POST", &headers, body.expose_secret());
        // The client sets host and content type from URL and request, to the values that are signed.
        let sent = headers
            .into_iter()
            .filter(|(name, _)| !["host", "content-type"].contains(name));
        let mut headers: Vec<_> = sent.map(|(name, value)| (name, Secret::new(value))).collect();
        headers.push(("authorization", Secret::new(authorization)));
        Ok(ServiceRequest {
            url: format!("{origin}/"),
            content_type: CONTENT_TYPE,
            headers,
            body,
        })
    }

    fn origin(&self) -> String {
        let suffix = if self.arn.starts_with("arn:aws-cn:") {
            ".cn"
        } else {
            ""
        };
        let own = || format!("https://kms.{}.amazonaws.com{suffix}", self.region);
        self.endpoint.clone().unwrap_or_else(own)
    }
}

impl fmt::Display for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.arn)?;
        match &self.endpoint {
            Some(endpoint) => write!(f, "@{endpoint}"),
            None => Ok(()),
        }
    }
}

pub(super) fn read_wrapped(answer: &ServiceAnswer) -> Result<Vec<u8>, ServiceError> {
    let mut all = succeeded(answer)?;
    let Some(Value::String(blob)) = all.remove("CiphertextBlob") else {
        return Err(ServiceError::Malformed("there is no CiphertextBlob in it"));
    };
    let blob = STANDARD.decode(blob);
    let blob = blob.map_err(|_| ServiceError::Malformed("the CiphertextBlob is not base64"))?;
    // SECURITY: a service that gave the key back as it is would put it into the database.
    if blob.len() <= 48 {
        return Err(ServiceError::Malformed(
            "the CiphertextBlob is too short to be one",
        ));
    }
    Ok(blob)
}

pub(super) fn read_unwrapped(answer: &ServiceAnswer) -> Result<WrappingKey, ServiceError> {
    key_in(succeeded(answer)?.remove("Plaintext"))
}

fn context(binding: Binding) -> (&'static str, Value) {
    ("EncryptionContext", json!({ "chancery:wraps": binding.text() }))
}

fn succeeded(answer: &ServiceAnswer) -> Result<serde_json::Map<String, Value>, ServiceError> {
    let status = answer.status;
    if status == 200 {
        return answered(answer);
    }
    let all = answered(answer).unwrap_or_default();
    let text = |names: [&str; 2]| {
        let found = names
            .iter()
            .find_map(|name| all.get(*name).and_then(Value::as_str));
        found.unwrap_or_default().to_owned()
    };
    // As in `com.amazonaws.kms#NotFoundException`, or with a namespace left out.
    let kind = text(["__type", "code"]);
    let kind = kind.rsplit_once('#').map_or(kind.as_str(), |(_, kind)| kind);
    let message = text(["message", "Message"]);
    let said = Said::new(&format!("{kind} {message}"));
    Err(match kind {
        "InvalidCiphertextException" | "IncorrectKeyException" => ServiceError::NotOurs { status, said },
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "SignatureDoesNotMatch" => ServiceError::Denied { status, said },
        "ThrottlingException"
        | "DependencyTimeoutException"
        | "KeyUnavailableException"
        | "KMSInternalException"
        | "ServiceUnavailableException" => ServiceError::Unavailable { status, said },
        _ if status == 429 || status >= 500 => ServiceError::Unavailable { status, said },
        _ => ServiceError::Refused { status, said },
    })
}

/// Keys of an AWS identity.
struct Credentials {
    key_id: String,
    secret: Secret<String>,
    token: Option<Secret<String>>,
}

impl Credentials {
    /// Reads a shared credentials file: lines of `name = value`, of its first section.
    fn parse(text: &Secret<String>) -> Result<Self, ServiceError> {
        let sections = text.expose_secret().trim_start().trim_start_matches('[');
        let first = sections.split("\n[").next().unwrap_or_default();
        let value = |wanted: &str| {
            let mut lines = first.lines().filter_map(|line| line.split_once('='));
            let found = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
            found
                .map(|(_, value)| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let missing =
            || ServiceError::Credential("aws_access_key_id and aws_secret_access_key are not in it");
        Ok(Self {
            key_id: value("aws_access_key_id").ok_or_else(missing)?,
            secret: Secret::new(value("aws_secret_access_key").ok_or_else(missing)?),
            token: value("aws_session_token").map(Secret::new),
        })
    }
}

/// What a signature is for.
struct Scope<'a> {
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

impl Scope<'_> {
    fn day(&self) -> &str {
        self.date.split_once('T').map_or(self.date, |(day, _)| day)
    }

    fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.day(), self.region, self.service)
    }
}

/// The `Authorization` header of a request to `/` without a query, with these headers, sorted by name.
fn authorization(
    credentials: &Credentials,
    scope: &Scope<'_>,
    method: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let signed = names.join(";");
    let listed = headers.iter().fold(String::new(), |text, (name, value)| {
        text + &format!("{name}:{}\n", value.trim())
    });
    let canonical = format!("{method}\n/\n\n{listed}\n{signed}\n{}", hash(body));
    let scope_text = scope.text();
    let to_sign = format!(
        "{ALGORITHM}\n{}\n{scope_text}\n{}",
        scope.date,
        hash(canonical.as_bytes())
    );
    let mut key = mac(
        format!("AWS4{}", credentials.secret.expose_secret()).as_bytes(),
        scope.day(),
    );
    for part in [scope.region, scope.service, "aws4_request"] {
        key = mac(key.as_ref(), part);
    }
    let signature = hexadecimal(mac(key.as_ref(), &to_sign).as_ref());
    format!(
        "{ALGORITHM} Credential={}/{scope_text}, SignedHeaders={signed}, Signature={signature}",
        credentials.key_id
    )
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hash(bytes: &[u8]) -> String {
    hexadecimal(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// `20260115T120000Z`.
fn basic_date(now: Timestamp) -> String {
    let text = now.to_string();
    let seconds = text.split_once('.').map_or(text.as_str(), |(seconds, _)| seconds);
    let kept = seconds.chars().filter(|character| !"-:Z".contains(*character));
    kept.chain(['Z']).collect()
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
pub(super) const PREFIX: &str = "aws-kms:";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::KeyService;

    const ARN: &str =
        "aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    const FILE: &str = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key=wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n";
    const NOW: Timestamp = Timestamp::from_seconds(1_440_938_160);

    fn credentials() -> Credentials {
        Credentials::parse(&Secret::new(FILE.to_owned())).unwrap()
    }

    fn service() -> KeyService {
        ARN.parse().unwrap()
    }

    fn answer(status: u16, body: &str) -> ServiceAnswer {
        ServiceAnswer {
            status,
            body: Secret::new(body.as_bytes().to_vec()),
        }
    }

    /// From AWS's published test suite of Signature Version 4: `get-vanilla` and `post-vanilla`.
    #[test]
    fn signatures_are_those_of_the_published_test_suite() {
        let date = basic_date(NOW);
        assert_eq!(date, "20150830T123600Z");
        let scope = Scope {
            date: &date,
            region: "us-east-1",
            service: "service",
        };
        let headers = [
            ("host", "example.amazonaws.com".to_owned()),
            ("x-amz-date", date.clone()),
        ];
        for (method, signature) in [
            (
                "GET",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
        ] {
            assert_eq!(
                authorization(&credentials(), &scope, method, &headers, b""),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders=host;x-amz-date, Signature={signature}"
                )
            );
        }
    }

    /// Written from the API's reference, not recorded from the service.
    #[test]
    fn requests_are_those_of_the_reference() {
        let file = Secret::new(format!(
            "{FILE}aws_session_token = TOKEN\n[other]\naws_session_token = OTHER\n"
        ));
        let proof = Proof {
            credential: &file,
            now: NOW,
        };
        let key = WrappingKey::from_bytes(&[7; 32]).unwrap();
        let request = service().wrap_request(&key, Binding::Probe, &proof).unwrap();
        assert_eq!(request.url, "https://kms.eu-central-1.amazonaws.com/");
        let header = |name: &str| {
            let found = request.headers.iter().find(|(other, _)| *other == name);
            found.unwrap().1.expose_secret().clone()
        };
        assert_eq!(header("x-amz-target"), "TrentService.Encrypt");
        assert_eq!(header("x-amz-date"), "20150830T123600Z");
        assert_eq!(header("x-amz-security-token"), "TOKEN");
        assert!(header("authorization").contains("/20150830/eu-central-1/kms/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, "));
        let body: Value = serde_json::from_slice(request.body.expose_secret()).unwrap();
        assert_eq!(body["Plaintext"], STANDARD.encode([7; 32]));
        assert_eq!(body["KeyId"], ARN.strip_prefix(PREFIX).unwrap());
        assert_eq!(body["EncryptionContext"], json!({ "chancery:wraps": "probe" }));

        let request = service()
            .unwrap_request(&[9; 60], Binding::Probe, &proof)
            .unwrap();
        let body: Value = serde_json::from_slice(request.body.expose_secret()).unwrap();
        assert_eq!(body["CiphertextBlob"], STANDARD.encode([9; 60]));
        assert_eq!(body["EncryptionContext"], json!({ "chancery:wraps": "probe" }));
        let shown = format!("{request:?}");
        assert!(!shown.contains("TOKEN") && !shown.contains("wJalr"), "{shown}");
    }

    #[test]
    fn a_key_is_named_by_its_arn_and_an_endpoint_is_not_part_of_the_name() {
        let elsewhere: KeyService = format!("{ARN}@https://vpce-1.kms.internal").parse().unwrap();
        assert_eq!(elsewhere.name(), service().name());
        assert_eq!(
            elsewhere.to_string(),
            format!("{ARN}@https://vpce-1.kms.internal")
        );
        for text in [
            "aws-kms:1234abcd",
            "aws-kms:arn:aws:s3:eu-central-1:111122223333:key/1",
            "aws-kms:arn:aws:kms:eu-central-1:111122223333:grant/1",
            "aws-kms:arn:aws:kms::111122223333:key/1",
            "aws-kms:arn:aws:kms:evil.example/x:111122223333:key/1?",
            "aws-kms:arn:aws:kms:eu.evil:111122223333:key/1",
            "aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1@evil.example",
            "aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1@https://user@evil.example",
            "aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1@https://",
        ] {
            assert_eq!(text.parse::<KeyService>(), Err(SourceError::Aws), "{text}");
        }
    }

    #[test]
    fn a_credential_without_its_keys_is_refused_before_anything_is_sent() {
        for text in [
            "",
            "[default]\n",
            "aws_access_key_id = A\n",
            "aws_access_key_id = A\naws_secret_access_key =\n",
        ] {
            let file = Secret::new(text.to_owned());
            let proof = Proof {
                credential: &file,
                now: NOW,
            };
            let refused = service().unwrap_request(&[9; 60], Binding::Probe, &proof).err();
            assert!(matches!(refused, Some(ServiceError::Credential(_))), "{text}");
        }
    }

    #[test]
    fn what_kms_answers_is_read_and_its_errors_are_told_apart() {
        let blob = format!(
            r#"{{"CiphertextBlob":"{}","KeyId":"x"}}"#,
            STANDARD.encode([9; 60])
        );
        assert_eq!(service().read_wrapped(&answer(200, &blob)), Ok(vec![9; 60]));
        let key = format!(r#"{{"KeyId":"x","Plaintext":"{}"}}"#, STANDARD.encode([7; 32]));
        assert!(service().read_unwrapped(&answer(200, &key)).is_ok());
        let own = format!(r#"{{"CiphertextBlob":"{}"}}"#, STANDARD.encode([7; 32]));
        for body in ["", "{}", own.as_str(), r#"{"CiphertextBlob":"!"}"#] {
            let refused = service().read_wrapped(&answer(200, body));
            assert!(matches!(refused, Err(ServiceError::Malformed(_))), "{body}");
        }
        let error = |status, kind: &str| {
            let body = json!({ "__type": kind, "message": "x" }).to_string();
            service().read_unwrapped(&answer(status, &body)).err().unwrap()
        };
        for kind in [
            "InvalidCiphertextException",
            "com.amazonaws.kms#IncorrectKeyException",
        ] {
            assert!(matches!(error(400, kind), ServiceError::NotOurs { .. }), "{kind}");
        }
        for kind in [
            "AccessDeniedException",
            "com.amazon.coral.service#ExpiredTokenException",
        ] {
            assert!(matches!(error(400, kind), ServiceError::Denied { .. }), "{kind}");
        }
        for (status, kind) in [
            (400, "ThrottlingException"),
            (500, "KMSInternalException"),
            (503, ""),
        ] {
            assert!(
                matches!(error(status, kind), ServiceError::Unavailable { .. }),
                "{kind}"
            );
        }
        for kind in [
            "NotFoundException",
            "DisabledException",
            "KMSInvalidStateException",
        ] {
            assert!(matches!(error(400, kind), ServiceError::Refused { .. }), "{kind}");
        }
    }
}
