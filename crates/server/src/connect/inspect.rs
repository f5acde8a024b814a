//! Looking at an MCP server before it is added: its name and every page of its `tools/list`, in whichever era it
//! speaks (MCP 2025-11-25 and before: `initialize`; 2026-07-28: each request by itself).
//!
//! Goes out through egress with its fences. The key comes with the request, is sent to this one URL, and is neither
//! stored nor logged. Nothing is stored at all. What comes back are the words of a server that nobody trusts yet.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::egress::{Destination, EgressError, OutboundBody, StreamLimits, StreamRequest, UrlSource};
use crate::error::{Failure, Refusal};
use crate::gateway::credential::Search;
use crate::gateway::upstream::SESSION;
use crate::tenants::Served;
use bytes::Bytes;
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::secret::Secret;
use chancery_core::time::Ttl;
use chancery_core::upstream::UpstreamUrl;
use chancery_mcp::headers::{METHOD, PROTOCOL_VERSION};
use chancery_mcp::manifest::Manifest;
use chancery_mcp::method::Listing;
use chancery_mcp::server_message::ServerMessage;
use chancery_mcp::sse::Decoder;
use chancery_mcp::{Revision, manifest};
use chancery_policy::ManagementAction;
use serde_json::{Value, json};

/// A server to look at.
#[derive(Debug)]
pub struct ToInspect {
    /// Its endpoint.
    pub url: UpstreamUrl,
    /// What it will be called.
    pub name: Name,
    /// Who will answer for it.
    pub owner: Option<Name>,
    /// Where the key goes.
    pub key: Option<KeyToTry>,
}

/// A key, and the header that it goes into.
#[derive(Debug)]
pub struct KeyToTry {
    /// The header.
    pub header: String,
    /// What stands before the key there.
    pub prefix: String,
    /// The key.
    pub value: Secret<String>,
}

/// What a server shows of itself.
#[derive(Debug)]
pub struct Inspected {
    /// What it says it is called, and its version.
    pub server: Value,
    /// The revision that it speaks.
    pub revision: String,
    /// Its tools.
    pub tools: Manifest,
    /// Tools that cannot be pinned.
    pub left_out: Vec<manifest::Refused>,
}

/// Why a server could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// It could not be reached, or the fence does not let anybody go there.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// It wants a key, or another one.
    #[error("it answers {status}: {}", if *.has_key { "it does not take this key" } else { "it wants a key" })]
    Unauthorized {
        /// 401 or 403.
        status: u16,
        /// Whether a key was sent.
        has_key: bool,
    },
    /// It answers with a status that an MCP server does not answer with here.
    #[error("it answers {0}, which is not how an MCP server answers")]
    Status(u16),
    /// What it answers is not MCP.
    #[error("what it answers is not MCP over streamable HTTP")]
    NotMcp,
    /// It answers with an error of JSON-RPC.
    #[error("it answers `{method}` with an error")]
    Refused {
        /// What was asked.
        method: &'static str,
    },
    /// It has more tools, or longer descriptions of them, than are read.
    #[error("it shows more than is read: at most {MAX_TOOLS} tools on {MAX_PAGES} pages")]
    TooMuch,
    /// It repeats the key that it was sent.
    #[error("it repeats the key that it was sent; what it said is not shown")]
    EchoesKey,
    /// All of it took too long.
    #[error("it did not show everything in time")]
    Timeout,
}

/// Looks at a server. Nothing is stored.
///
/// # Errors
/// Policy's refusal; [`Refusal::Upstream`] with the fix.
pub async fn inspect(
    app: &App,
    served: &Served,
    caller: &Caller,
    wanted: &ToInspect,
) -> Result<Inspected, Failure> {
    // SECURITY: this makes the server send a request. Who may not say where calls go may not ask for it.
    let subject = (Noun::Connection, wanted.name.as_str(), wanted.owner.as_ref());
    change::permit(served, caller, ManagementAction::WriteDestination, subject)?;

    let mut visit = Visit::new(app, served, wanted);
    let read = tokio::time::timeout(IN_ALL.as_std(), visit.read()).await;
    read.unwrap_or(Err(InspectError::Timeout)).map_err(|error| {
        let url = wanted.url.as_str().to_owned();
        Refusal::Upstream { url, error }.into()
    })
}

struct Visit<'a> {
    app: &'a App,
    served: &'a Served,
    wanted: &'a ToInspect,
    search: Search,
    session: Option<String>,
    revision: Revision,
    next_id: u32,
}

/// An answer: the message, if there is one.
struct Reply {
    status: u16,
    session: Option<String>,
    message: Option<String>,
}

impl<'a> Visit<'a> {
    fn new(app: &'a App, served: &'a Served, wanted: &'a ToInspect) -> Self {
        let key = wanted.key.as_ref().map(|key| key.value.expose_secret().as_str());
        Self {
            app,
            served,
            wanted,
            search: Search::of(key.as_slice()),
            session: None,
            revision: Revision::LATEST_SESSION,
            next_id: 1,
        }
    }

    /// Sessions first: most servers have them, and those that do not say so at once.
    async fn read(&mut self) -> Result<Inspected, InspectError> {
        let opened = self.open_session().await?;
        let mut server = opened.unwrap_or_else(|| {
            self.revision = Revision::V2026_07_28;
            Value::Null
        });
        let listed = self.tools(&mut server).await;
        self.close_session().await;
        let (tools, left_out) = listed?;
        Ok(Inspected {
            server,
            revision: self.revision.as_str().to_owned(),
            tools,
            left_out,
        })
    }

    /// What the server says of itself, if it opens a session.
    async fn open_session(&mut self) -> Result<Option<Value>, InspectError> {
        let params = json!({
            "protocolVersion": self.revision.as_str(),
            "capabilities": {},
            "clientInfo": { "name": "chancery", "version": env!("CARGO_PKG_VERSION") },
        });
        let reply = self.ask("initialize", params).await?;
        self.check_key(reply.status)?;
        let result = reply.message.as_deref().and_then(result);
        let Some(result) = result.filter(|_| reply.status < 300) else {
            return match reply.status {
                200..300 | 400 | 404 | 405 => Ok(None),
                status => Err(InspectError::Status(status)),
            };
        };
        let said = result.get("protocolVersion").and_then(Value::as_str);
        self.revision = said.and_then(Revision::parse).ok_or(InspectError::NotMcp)?;
        self.session = reply.session;
        let body = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.post("notifications/initialized", &body).await?;
        Ok(Some(result.get("serverInfo").cloned().unwrap_or_default()))
    }

    async fn tools(
        &mut self,
        server: &mut Value,
    ) -> Result<(Manifest, Vec<manifest::Refused>), InspectError> {
        let (mut tools, mut left_out) = (Manifest::default(), Vec::new());
        let mut cursor: Option<Value> = None;
        for _ in 0..MAX_PAGES {
            let params = cursor
                .take()
                .map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let reply = self.ask(LIST, params).await?;
            self.check_key(reply.status)?;
            let message = reply.message.ok_or(match reply.status {
                200..300 => InspectError::NotMcp,
                status => InspectError::Status(status),
            })?;
            let page = result(&message).ok_or(InspectError::Refused { method: LIST })?;
            let refused = tools.add_page(Listing::Tools, message.as_bytes());
            left_out.extend(refused.map_err(|_| InspectError::NotMcp)?);
            if tools.iter().count() > MAX_TOOLS {
                return Err(InspectError::TooMuch);
            }
            if server.is_null() {
                let info = page.pointer("/_meta/io.modelcontextprotocol~1serverInfo");
                *server = info.cloned().unwrap_or_default();
            }
            cursor = page
                .get("nextCursor")
                .filter(|cursor| cursor.is_string())
                .cloned();
            if cursor.is_none() {
                return Ok((tools, left_out));
            }
        }
        Err(InspectError::TooMuch)
    }

    /// A server that does not end sessions says so, and that is all.
    async fn close_session(&mut self) {
        if self.session.is_some()
            && let Ok(request) = self.request("DELETE", "", Bytes::new())
        {
            drop(self.send(request).await);
        }
    }

    fn check_key(&self, status: u16) -> Result<(), InspectError> {
        match status {
            401 | 403 => Err(InspectError::Unauthorized {
                status,
                has_key: self.wanted.key.is_some(),
            }),
            _ => Ok(()),
        }
    }

    async fn ask(&mut self, method: &'static str, mut params: Value) -> Result<Reply, InspectError> {
        if self.revision.is_stateless()
            && let Some(params) = params.as_object_mut()
        {
            let meta = json!({
                chancery_mcp::era::META_PROTOCOL_VERSION: self.revision.as_str(),
                chancery_mcp::era::META_CLIENT_CAPABILITIES: {},
                "io.modelcontextprotocol/clientInfo": { "name": "chancery", "version": env!("CARGO_PKG_VERSION") },
            });
            params.insert("_meta".to_owned(), meta);
        }
        let id = self.next_id;
        self.next_id += 1;
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.post(method, &body).await
    }

    async fn post(&self, method: &str, body: &Value) -> Result<Reply, InspectError> {
        let asked = body.get("id").map(Value::to_string);
        let request = self.request("POST", method, Bytes::from(body.to_string()))?;
        let mut response = self.send(request).await?;
        let header = |name: &str| response.header(name).map(str::to_owned);
        let (status, session) = (response.status(), header(SESSION));
        let kind = header("content-type").unwrap_or_default().to_ascii_lowercase();
        let message = match (&asked, kind.split(';').next().unwrap_or_default().trim()) {
            (Some(_), "application/json") => Some(self.text(response.whole(MAX_ANSWER).await?)?),
            (Some(asked), "text/event-stream") if status < 300 => {
                let mut decoder = Decoder::new(MAX_ANSWER);
                let mut left = MAX_ANSWER;
                let mut found = None;
                while let (None, Some(piece)) = (&found, response.chunk().await?) {
                    left = left.checked_sub(piece.len()).ok_or(InspectError::TooMuch)?;
                    let mut events = Vec::new();
                    decoder
                        .push(&piece, &mut events)
                        .map_err(|_| InspectError::NotMcp)?;
                    let data = events.into_iter().filter_map(|event| event.data);
                    found = data.into_iter().find(|data| answers(data, asked));
                }
                found.map(|text| self.text(text.into())).transpose()?
            }
            _ => None,
        };
        Ok(Reply {
            status,
            session,
            message,
        })
    }

    fn request(&self, verb: &str, method: &str, body: Bytes) -> Result<StreamRequest, EgressError> {
        let mut request = StreamRequest::new(verb, OutboundBody::from(body), LIMITS)?;
        request.set_header("accept", "application/json, text/event-stream")?;
        if verb == "POST" {
            request.set_header("content-type", "application/json")?;
        }
        if method != "initialize" {
            request.set_header(PROTOCOL_VERSION, self.revision.as_str())?;
        }
        if self.revision.is_stateless() {
            request.set_header(METHOD, method)?;
        }
        if let Some(session) = &self.session {
            request.set_header(SESSION, session)?;
        }
        if let Some(key) = &self.wanted.key {
            let text = Secret::new(format!("{}{}", key.prefix, key.value.expose_secret()));
            request.set_secret_header(&key.header, text.expose_secret())?;
        }
        Ok(request)
    }

    async fn send(&self, request: StreamRequest) -> Result<crate::egress::StreamResponse, EgressError> {
        let destination = Destination {
            tenant: Some(&self.served.tenant.name),
            source: UrlSource::Configured,
            url: self.wanted.url.as_str(),
        };
        self.app.egress.open_stream(destination, request).await
    }

    /// SECURITY: what is shown of the server must not hold the key.
    fn text(&self, bytes: Bytes) -> Result<String, InspectError> {
        if self.search.finds(&bytes) {
            return Err(InspectError::EchoesKey);
        }
        String::from_utf8(bytes.into()).map_err(|_| InspectError::NotMcp)
    }
}

impl InspectError {
    /// How to fix it, where there is a way.
    pub fn hint(&self, url: &str) -> Option<String> {
        match self {
            Self::Egress(error) => egress_hint(error, url),
            Self::Unauthorized { has_key: false, .. } => Some(
                "give its key: --key - (and --header NAME if it does not go into `Authorization: Bearer`)".to_owned(),
            ),
            Self::Unauthorized { has_key: true, .. } => Some(
                "check the key and where it goes: --header NAME for another header than `Authorization: Bearer`"
                    .to_owned(),
            ),
            Self::Status(_) | Self::NotMcp => {
                Some("give the server's MCP endpoint, which often ends in `/mcp`".to_owned())
            }
            Self::Refused { .. } | Self::TooMuch | Self::EchoesKey | Self::Timeout => None,
        }
    }
}

fn egress_hint(error: &EgressError, url: &str) -> Option<String> {
    let parsed = url::Url::parse(url).ok()?;
    let host = parsed.host_str()?;
    let place = parsed
        .port_or_known_default()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    match error {
        EgressError::AddressNotAllowed { .. } | EgressError::NotHttps => Some(format!(
            "if this host is meant, the operator allows it: chancery serve --allow-hosts {place}"
        )),
        EgressError::Connect { .. } => Some(
            "check that it runs; for a private certificate authority: chancery serve --extra-ca-file FILE"
                .to_owned(),
        ),
        EgressError::Unresolved => Some("check the host name".to_owned()),
        EgressError::Redirect
        | EgressError::MalformedUrl
        | EgressError::UserInfo
        | EgressError::Fragment
        | EgressError::AddressLiteral
        | EgressError::Transport { .. }
        | EgressError::Timeout
        | EgressError::Busy
        | EgressError::Status(_)
        | EgressError::ContentType
        | EgressError::ContentEncoding
        | EgressError::Header
        | EgressError::TooLarge { .. } => error.hint().map(str::to_owned),
    }
}

/// The result of a response, if it is one.
fn result(message: &str) -> Option<Value> {
    let mut message: Value = serde_json::from_str(message).ok()?;
    message.get_mut("result").map(Value::take)
}

fn answers(data: &str, asked: &str) -> bool {
    match ServerMessage::read(data) {
        Ok(ServerMessage::Response { id: Some(id), .. }) => id.as_json() == asked,
        Ok(_) | Err(_) => false,
    }
}

const LIST: &str = "tools/list";
const MAX_PAGES: usize = 64;
const MAX_TOOLS: usize = 1_000;
const MAX_ANSWER: usize = 4 << 20;
const IN_ALL: Ttl = Ttl::from_seconds(60);

const LIMITS: StreamLimits = StreamLimits {
    turn: Ttl::from_seconds(1),
    head: Ttl::from_seconds(10),
    idle: Ttl::from_seconds(10),
    total: Ttl::from_seconds(30),
};
