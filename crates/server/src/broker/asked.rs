//! What people are asked of a brokered request: everything that is sent on, but for the credential. A body is read
//! whole for it, so one that is long, or does not say how long it is, cannot be approved.

use crate::app::App;
use crate::approve::request::Unaskable;
use crate::approve::sealed;
use crate::broker::headers::names_the_attempt;
use crate::broker::request::{InboundBody, Outgoing, Rejection};
use crate::connect::lack;
use crate::error::Failure;
use crate::setup::sha256;
use crate::tenants::Served;
use bytes::{Bytes, BytesMut};
use chancery_core::approval::{AskedBody, AskedCall, AskedRequest};
use chancery_core::decision::Decision;
use chancery_core::id::Id as _;
use chancery_core::resource::Resource;
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyLost {
    /// It broke off, or is not as long as was said.
    #[error("the body broke off, or is not as long as was said")]
    Broken,
    /// It did not come in time.
    #[error("the body did not come within {} seconds", READ_WITHIN.as_secs())]
    Late,
}

/// What is told of a refusal: where the person connects an account, if that is what it lacks.
///
/// # Errors
/// The database's.
pub(super) async fn refused(
    app: &App,
    served: &Served,
    decision: Box<Decision>,
    resource: Arc<Resource>,
) -> Result<Rejection, Failure> {
    let lack = lack::of_decision(app, served, &decision).await?;
    Ok(match lack {
        Some(lack) => Rejection::Failure(lack.into()),
        None => Rejection::Denied(decision, resource),
    })
}

/// A body of which everything is known before anybody is asked.
///
/// # Errors
/// It did not come whole. The inner error is why nobody can be asked about it.
pub(super) async fn whole(body: &mut InboundBody) -> Result<Result<Bytes, Unaskable>, BodyLost> {
    let length = match body.length.map(usize::try_from) {
        None => return Ok(Err(Unaskable::Streams)),
        Some(Ok(length)) if length <= MAX_BODY => length,
        Some(_) => return Ok(Err(Unaskable::TooLong)),
    };
    let mut whole = BytesMut::with_capacity(length);
    // SECURITY: the request is decided on as of one moment; a caller must not hold that moment by a slow body.
    let read = async {
        while let Some(piece) = body.pieces.next().await {
            whole.extend_from_slice(&piece.map_err(|_| BodyLost::Broken)?);
            if whole.len() > length {
                return Err(BodyLost::Broken);
            }
        }
        Ok(())
    };
    tokio::time::timeout(READ_WITHIN, read)
        .await
        .map_err(|_| BodyLost::Late)??;
    if whole.len() != length {
        return Err(BodyLost::Broken);
    }
    Ok(Ok(whole.freeze()))
}

/// What people are asked.
pub(super) fn call(served: &Served, outgoing: &Outgoing, body: &Bytes) -> AskedCall {
    let base = &outgoing.connection.spec.base_url;
    let body = (!body.is_empty()).then(|| AskedBody::new(body, sealed::hex(&sha256(body))));
    AskedCall {
        target: format!("{} {}", outgoing.method, outgoing.path),
        definition: None,
        arguments: None,
        request: Some(Box::new(AskedRequest {
            method: outgoing.method.clone(),
            origin: base.origin().to_owned(),
            path: format!("{}{}", base.path(), outgoing.path),
            query: outgoing.query.clone(),
            headers: headers(served, outgoing),
            body,
        })),
    }
}

/// The headers as people see them. What sounds like a secret of the caller's stands as a mark that only this value
/// has, and that says nothing of it.
fn headers(served: &Served, outgoing: &Outgoing) -> BTreeMap<String, String> {
    let connection = outgoing.connection.id;
    let shown = |name: &String, value: &String| {
        if !SECRET.iter().any(|word| name.contains(word)) {
            return value.clone();
        }
        let text = [b"secret header ".as_slice(), value.as_bytes()].concat();
        let tag = served.keys.session_tag(&[*connection.as_bytes()], &text);
        let mark = sealed::hex(tag.get(..MARK).unwrap_or(&tag));
        format!("secret, not shown ({mark})")
    };
    let asked = outgoing
        .headers
        .iter()
        .filter(|(name, _)| !names_the_attempt(name));
    asked
        .map(|(name, value)| (name.clone(), shown(name, value)))
        .collect()
}

/// The longest body that people can be asked about, in bytes.
pub const MAX_BODY: usize = 64 << 10;
/// How long it may take to come.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// What names of headers with secrets have in them.
const SECRET: &[&str] = &[
    "auth",
    "cookie",
    "credential",
    "key",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
];
/// How many bytes of a mark: enough that no other value has it.
const MARK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::request::BodyError;
    use futures_util::stream;

    fn body(length: Option<u64>, pieces: &[Result<&'static str, &'static str>]) -> InboundBody {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| {
                piece
                    .map(|text| Bytes::from_static(text.as_bytes()))
                    .map_err(BodyError::from)
            })
            .collect();
        InboundBody {
            length,
            pieces: Box::pin(stream::iter(pieces)),
        }
    }

    #[tokio::test]
    async fn a_body_is_whole_or_nobody_is_asked() {
        let read = async |length, pieces: &[_]| whole(&mut body(length, pieces)).await;
        assert_eq!(
            read(Some(4), &[Ok("ab"), Ok("cd")]).await,
            Ok(Ok(Bytes::from("abcd")))
        );
        assert_eq!(read(Some(0), &[]).await, Ok(Ok(Bytes::new())));
        assert_eq!(read(None, &[Ok("ab")]).await, Ok(Err(Unaskable::Streams)));
        let long = Some(MAX_BODY as u64 + 1);
        assert_eq!(read(long, &[Ok("ab")]).await, Ok(Err(Unaskable::TooLong)));
        for (length, pieces) in [
            (4, vec![Ok("ab")]),
            (4, vec![Ok("abcde")]),
            (4, vec![Ok("ab"), Err("gone")]),
        ] {
            assert_eq!(
                read(Some(length), &pieces).await,
                Err(BodyLost::Broken),
                "{pieces:?}"
            );
        }
    }
}
