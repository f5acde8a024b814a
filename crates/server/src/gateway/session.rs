//! Sessions of the older eras: the upstream's session id, bound to who opened it. The id that a client holds is the
//! upstream's with a tag over resource, agent, client and person, so nothing is kept here and any node can serve it.
//! What the client said of itself at the beginning stands in it too.
//! A session id is never a proof of who calls: it only works together with that caller's own token.

use crate::gateway::caller::Caller;
use crate::tenants::Served;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

/// A session of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The upstream's id of it.
    pub id: String,
    /// Whether the client said that it can send its person to a URL.
    pub opens_urls: bool,
}

impl Session {
    /// The id to hand to the client.
    pub fn bind(&self, served: &Served, caller: &Caller) -> String {
        let mark = if self.opens_urls { OPENS_URLS } else { PLAIN };
        let session = [mark, self.id.as_bytes()].concat();
        let tag = served.keys.session_tag(&caller.identity(), &session);
        format!("{}.{}", BASE64URL.encode(session), BASE64URL.encode(tag))
    }

    /// The session behind the id that this caller presents. `None` if it is forged, or somebody else's.
    pub fn unbind(served: &Served, caller: &Caller, presented: &str) -> Option<Self> {
        let (session, tag) = presented.split_once('.')?;
        let session = BASE64URL.decode(session).ok()?;
        let tag = BASE64URL.decode(tag).ok()?;
        if !served.keys.is_session_tag(&caller.identity(), &session, &tag) {
            return None;
        }
        let (id, opens_urls) = match session.strip_prefix(OPENS_URLS) {
            Some(id) => (id, true),
            None => (session.strip_prefix(PLAIN)?, false),
        };
        Some(Self {
            id: String::from_utf8(id.to_vec()).ok()?,
            opens_urls,
        })
    }
}

const OPENS_URLS: &[u8] = b"u";
const PLAIN: &[u8] = b"-";
