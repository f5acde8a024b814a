//! Sessions of the older eras: the upstream's session id, bound to who opened it. The id that a client holds is the
//! upstream's with a tag over resource, agent, client and person, so nothing is kept here and any node can serve it.
//! A session id is never a proof of who calls: it only works together with that caller's own token.

use crate::gateway::caller::Caller;
use crate::tenants::Served;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

/// The id to hand to the client.
pub fn bind(served: &Served, caller: &Caller, upstream: &str) -> String {
    let tag = served.keys.session_tag(&caller.identity(), upstream.as_bytes());
    format!("{}.{}", BASE64URL.encode(upstream), BASE64URL.encode(tag))
}

/// The upstream's id behind the one that this caller presents. `None` if it is forged, or somebody else's.
pub fn unbind(served: &Served, caller: &Caller, presented: &str) -> Option<String> {
    let (session, tag) = presented.split_once('.')?;
    let session = BASE64URL.decode(session).ok()?;
    let tag = BASE64URL.decode(tag).ok()?;
    if !served.keys.is_session_tag(&caller.identity(), &session, &tag) {
        return None;
    }
    String::from_utf8(session).ok()
}
