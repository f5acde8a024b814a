//! Tags: what the server hands out and takes back, bound by a MAC under a key derived for each use. What was handed out
//! before a rotation of the tenant's key is taken back while the rotation runs.

use super::TenantKeys;
use crate::error::Failure;
use aws_lc_rs::hmac;
use chancery_vault::{Purpose, TenantKey};

/// The MAC keys, for each use the present one first.
pub(super) struct Tags {
    sessions: Vec<hmac::Key>,
    pages: Vec<hmac::Key>,
    refresh: Vec<hmac::Key>,
}

impl Tags {
    /// Derives them.
    pub(super) fn new(present: &TenantKey, previous: Option<&TenantKey>) -> Result<Self, Failure> {
        let derived = |purpose| {
            let one = |key: &TenantKey| {
                let derived = key.derive(purpose, b"").map_err(Failure::internal)?;
                Ok(hmac::Key::new(hmac::HMAC_SHA256, derived.expose_secret()))
            };
            std::iter::once(present)
                .chain(previous)
                .map(one)
                .collect::<Result<Vec<_>, Failure>>()
        };
        Ok(Self {
            sessions: derived(Purpose::Session)?,
            pages: derived(Purpose::Page)?,
            refresh: derived(Purpose::RefreshSuccessor)?,
        })
    }
}

impl TenantKeys {
    /// The tag that binds an upstream's session to who opened it.
    pub fn session_tag(&self, owner: &[[u8; 16]], session: &[u8]) -> Vec<u8> {
        tag(&self.tags.sessions, &session_message(owner, session))
    }

    /// Whether a tag is that of this owner and session, in constant time.
    pub fn is_session_tag(&self, owner: &[[u8; 16]], session: &[u8], tag: &[u8]) -> bool {
        is_tag(&self.tags.sessions, &session_message(owner, session), tag)
    }

    /// The tag over something that a page hands out and takes back. What it is about stands in the message.
    pub fn page_tag(&self, message: &[u8]) -> Vec<u8> {
        tag(&self.tags.pages, message)
    }

    /// Whether a tag is that of this message, in constant time.
    pub fn is_page_tag(&self, message: &[u8], tag: &[u8]) -> bool {
        is_tag(&self.tags.pages, message, tag)
    }

    /// The secret part of a refresh token: of this family, at this place in its line.
    pub fn refresh_tag(&self, message: &[u8]) -> Vec<u8> {
        tag(&self.tags.refresh, message)
    }

    /// Whether it is that of this family and place, in constant time.
    pub fn is_refresh_tag(&self, message: &[u8], tag: &[u8]) -> bool {
        is_tag(&self.tags.refresh, message, tag)
    }
}

fn tag(keys: &[hmac::Key], message: &[u8]) -> Vec<u8> {
    let tag = keys.first().map(|key| hmac::sign(key, message));
    tag.map(|tag| tag.as_ref().to_vec()).unwrap_or_default()
}

fn is_tag(keys: &[hmac::Key], message: &[u8], tag: &[u8]) -> bool {
    keys.iter().any(|key| hmac::verify(key, message, tag).is_ok())
}

/// The number of ids stands first, so that no session can pass for one of them.
fn session_message(owner: &[[u8; 16]], session: &[u8]) -> Vec<u8> {
    let mut message = owner.len().to_be_bytes().to_vec();
    message.extend(owner.iter().flatten());
    message.extend_from_slice(session);
    message
}
