//! Client authentication (RFC 6749 §2.3): one proof and no more, read as another library reads it.

use crate::{form_of_another_library, header_and_body, values};
use base64::Engine as _;
use chancery_oauth::form::Parameters;
use chancery_oauth::request::client::PresentedClient;

pub fn run(input: &[u8]) {
    let Some((header, body)) = header_and_body(input) else {
        return;
    };
    let Ok(mut parameters) = Parameters::parse(body) else {
        return;
    };
    if let Ok(client) = PresentedClient::parse(header, &mut parameters) {
        check(&client, header, body);
    }
}

/// What was accepted is what was sent, is one proof, and does not print.
pub(crate) fn check(client: &PresentedClient, header: Option<&str>, body: &[u8]) {
    let form = form_of_another_library(body);
    let secrets = values(&form, "client_secret");
    let assertions = values(&form, "client_assertion");
    let proofs = usize::from(header.is_some()) + secrets.len() + assertions.len();
    let is_public = matches!(client, PresentedClient::Public { .. });
    assert_eq!(proofs, usize::from(!is_public), "accepted with {proofs} proofs");
    let ids = values(&form, "client_id");

    let (id, proof) = match client {
        PresentedClient::Secret {
            client_id,
            secret,
            basic: true,
        } => {
            let header = header.expect("Basic is a header");
            assert_eq!(
                basic(header),
                Some((client_id.clone(), secret.expose_secret().clone()))
            );
            assert!(ids.iter().all(|id| id == client_id), "two clients in one request");
            (Some(client_id), secret)
        }
        PresentedClient::Secret {
            client_id,
            secret,
            basic: false,
        } => {
            assert_eq!(
                (ids.as_slice(), secrets.as_slice()),
                (
                    [client_id.as_str()].as_slice(),
                    [secret.expose_secret().as_str()].as_slice()
                )
            );
            (Some(client_id), secret)
        }
        PresentedClient::Assertion { client_id, assertion } => {
            assert_eq!(ids.first().copied(), client_id.as_deref());
            assert_eq!(assertions, [assertion.expose_secret().as_str()]);
            (client_id.as_ref(), assertion)
        }
        PresentedClient::Public { client_id } => {
            assert_eq!(ids, [client_id.as_str()]);
            return;
        }
    };
    // A short proof may stand in the words around it.
    let proof = proof.expose_secret();
    let is_telling =
        proof.len() >= 8 && !format!("{id:?} Assertion client_id [redacted]").contains(proof.as_str());
    assert!(
        !is_telling || !format!("{client:?}").contains(proof.as_str()),
        "a secret prints"
    );
}

/// HTTP Basic, read by other means: RFC 7617 with both halves form-encoded.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, text) = header.split_once(' ')?;
    assert!(scheme.eq_ignore_ascii_case("basic"));
    let text = base64::engine::general_purpose::STANDARD
        .decode(text.trim())
        .ok()?;
    let colon = text.iter().position(|&byte| byte == b':')?;
    let decode = |half: &[u8]| {
        // As the value of a parameter whose separators cannot end it.
        let half: Vec<u8> = half
            .iter()
            .flat_map(|&byte| match byte {
                b'&' => b"%26".to_vec(),
                other => vec![other],
            })
            .collect();
        let pair = [b"v=".as_slice(), &half].concat();
        url::form_urlencoded::parse(&pair)
            .next()
            .map(|(_, value)| value.into_owned())
    };
    Some((decode(&text[..colon])?, decode(&text[colon + 1..])?))
}
