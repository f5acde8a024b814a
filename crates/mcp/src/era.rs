//! Which revision a message is under (2026-07-28 "Versioning and Compatibility"; streamable HTTP, "Protocol Version
//! Header"; 2025-06-18 transports, "Protocol Version Header").
//!
//! Two eras share one URL. Until 2025-11-25 a session is opened by `initialize`, and later messages name their
//! revision in a header; without it they are under 2025-03-26. From 2026-07-28 each request names its revision twice,
//! in the header and in `_meta`, and there is no session.
//!
//! Sessions themselves are not kept here, and 2024-11-05 is not a revision of this transport.

use crate::envelope::{Message, Object, Request};
use crate::headers::{HeaderError, Headers, PROTOCOL_VERSION};
use crate::method::Method;
use serde_json::Value;
use std::fmt;

/// A revision of the protocol that has streamable HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2025-03-26.
    V2025_03_26,
    /// 2025-06-18.
    V2025_06_18,
    /// 2025-11-25.
    V2025_11_25,
    /// 2026-07-28.
    V2026_07_28,
}

/// How messages of a revision belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// A session that `initialize` opened. During `initialize` itself, the revision that the client asks for, or
    /// the latest if it asks for another.
    Session(Revision),
    /// Each request by itself.
    Stateless(Revision),
}

/// Why a message is under no revision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EraError {
    /// The revision is not one of ours: -32022 with the list of those that are.
    #[error("unsupported protocol version")]
    Unsupported {
        /// What was asked for, cut to a length that can be repeated.
        requested: String,
        /// What could have been asked for in its place.
        supported: &'static [Revision],
    },
    /// The header is missing, repeated, unreadable, or says something else than the body: -32020.
    #[error(transparent)]
    Header(HeaderError),
    /// A request of the stateless era without its revision in `_meta`: -32602.
    #[error("`_meta` has no `io.modelcontextprotocol/protocolVersion`")]
    MetaMissing,
    /// `_meta`, or the revision in it, has the wrong type: -32602.
    #[error("`_meta` or its protocol version has the wrong type")]
    MetaType,
    /// `initialize` without the revision that the client asks for: -32602.
    #[error("`initialize` has no `protocolVersion`")]
    InitializeVersion,
    /// A client's response, which the stateless era does not have: -32600.
    #[error("a client sends no responses in this revision")]
    Response,
}

impl Revision {
    /// Those that this gateway speaks, newest first.
    pub const SUPPORTED: [Self; 4] = [
        Self::V2026_07_28,
        Self::V2025_11_25,
        Self::V2025_06_18,
        Self::V2025_03_26,
    ];

    /// Those of them in which every request names its own revision.
    pub const STATELESS: [Self; 1] = [Self::V2026_07_28];

    /// The newest that has sessions.
    pub const LATEST_SESSION: Self = Self::V2025_11_25;

    /// The one of messages that name none.
    pub const UNNAMED: Self = Self::V2025_03_26;

    /// The revision of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::SUPPORTED
            .into_iter()
            .find(|revision| revision.as_str() == text)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether it has no sessions.
    pub const fn is_stateless(self) -> bool {
        matches!(self, Self::V2026_07_28)
    }

    /// The era that it belongs to.
    pub const fn era(self) -> Era {
        if self.is_stateless() {
            Era::Stateless(self)
        } else {
            Era::Session(self)
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Era {
    /// The era of a message, by its body and the header `MCP-Protocol-Version`.
    ///
    /// # Errors
    /// The rule of [`EraError`] that header and body break.
    pub fn of(message: &Message, headers: &Headers<'_>) -> Result<Self, EraError> {
        let header = headers.find(PROTOCOL_VERSION).map_err(EraError::Header)?;
        match message {
            Message::Request(request) if request.method == Method::Initialize.as_str() => {
                of_initialize(request, header)
            }
            Message::Request(request) => {
                let era = of_versions(meta_version(request.params.as_ref())?, header)?;
                let is_named = meta_version(request.params.as_ref())?.is_some();
                if era.is_stateless() && !is_named {
                    return Err(EraError::MetaMissing);
                }
                Ok(era)
            }
            // Only requests must carry the fields in `_meta`.
            Message::Notification(notification) => {
                of_versions(meta_version(notification.params.as_ref())?, header)
            }
            Message::Response(_) => {
                let era = of_versions(None, header)?;
                if era.is_stateless() {
                    return Err(EraError::Response);
                }
                Ok(era)
            }
        }
    }

    /// The era of a request without a body, as GET and DELETE of the revisions with sessions.
    ///
    /// # Errors
    /// The header is unreadable or names a revision that is not ours.
    pub fn of_headers(headers: &Headers<'_>) -> Result<Self, EraError> {
        let header = headers.find(PROTOCOL_VERSION).map_err(EraError::Header)?;
        of_versions(None, header)
    }

    /// The revision.
    pub const fn revision(self) -> Revision {
        match self {
            Self::Session(revision) | Self::Stateless(revision) => revision,
        }
    }

    /// Whether there are no sessions.
    pub const fn is_stateless(self) -> bool {
        matches!(self, Self::Stateless(_))
    }
}

/// `initialize` opens a session whatever revision it names; the server answers with one that it has.
///
/// In a request of the stateless era it is a method like any other, which does not exist there.
fn of_initialize(request: &Request, header: Option<&str>) -> Result<Era, EraError> {
    let named = meta_version(request.params.as_ref())?;
    if named
        .and_then(Revision::parse)
        .is_some_and(Revision::is_stateless)
    {
        return of_versions(named, header);
    }
    let Some(Value::String(asked)) = request.param("protocolVersion") else {
        return Err(EraError::InitializeVersion);
    };
    // A client that opens a session again may still send what it spoke in the last one.
    if let Some(header) = header.filter(|header| header != asked)
        && parse(header, &Revision::SUPPORTED)?.is_stateless()
    {
        return Err(mismatch());
    }
    let revision = Revision::parse(asked).filter(|revision| !revision.is_stateless());
    Ok(Era::Session(revision.unwrap_or(Revision::LATEST_SESSION)))
}

fn of_versions(meta: Option<&str>, header: Option<&str>) -> Result<Era, EraError> {
    match (meta, header) {
        (None, None) => Ok(Revision::UNNAMED.era()),
        (None, Some(header)) => Ok(parse(header, &Revision::SUPPORTED)?.era()),
        (Some(meta), None) => {
            parse(meta, &Revision::STATELESS)?;
            Err(EraError::Header(HeaderError::Missing(
                PROTOCOL_VERSION.to_owned(),
            )))
        }
        (Some(meta), Some(header)) if meta != header => Err(mismatch()),
        (Some(meta), Some(_)) => Ok(parse(meta, &Revision::STATELESS)?.era()),
    }
}

fn meta_version(params: Option<&Object>) -> Result<Option<&str>, EraError> {
    let meta = match params.and_then(|params| params.get("_meta")) {
        None => return Ok(None),
        Some(Value::Object(meta)) => meta,
        Some(_) => return Err(EraError::MetaType),
    };
    match meta.get(META_PROTOCOL_VERSION) {
        None => Ok(None),
        Some(Value::String(version)) => Ok(Some(version)),
        Some(_) => Err(EraError::MetaType),
    }
}

fn parse(text: &str, supported: &'static [Revision]) -> Result<Revision, EraError> {
    Revision::parse(text).ok_or_else(|| EraError::Unsupported {
        requested: text.chars().take(MAX_REPEATED).collect(),
        supported,
    })
}

fn mismatch() -> EraError {
    EraError::Header(HeaderError::Mismatch(PROTOCOL_VERSION.to_owned()))
}

/// The member of `_meta` that names the revision.
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// The member of `_meta` that says what the client can do.
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// How much of an unknown version is repeated.
const MAX_REPEATED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use chancery_core::json::JsonLimits;

    fn message(text: &str) -> Message {
        Envelope::parse(text.as_bytes(), JsonLimits::of_bytes(4096))
            .unwrap()
            .into_message()
    }

    fn era(text: &str, header: Option<&str>) -> Result<Era, EraError> {
        let pairs: Vec<(&str, &[u8])> = header
            .iter()
            .map(|value| ("mcp-protocol-version", value.as_bytes()))
            .collect();
        Era::of(&message(text), &Headers::new(&pairs))
    }

    fn with_meta(version: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{"{META_PROTOCOL_VERSION}":"{version}"}}}}}}"#
        )
    }

    const PLAIN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    const NOTICE: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

    #[test]
    fn a_session_names_its_revision_in_the_header_or_is_under_the_oldest() {
        assert_eq!(era(PLAIN, None), Ok(Era::Session(Revision::V2025_03_26)));
        for revision in [
            Revision::V2025_03_26,
            Revision::V2025_06_18,
            Revision::V2025_11_25,
        ] {
            for text in [PLAIN, NOTICE] {
                assert_eq!(era(text, Some(revision.as_str())), Ok(Era::Session(revision)));
            }
        }
    }

    #[test]
    fn a_stateless_request_names_its_revision_twice() {
        let stateless = Ok(Era::Stateless(Revision::V2026_07_28));
        assert_eq!(era(&with_meta("2026-07-28"), Some("2026-07-28")), stateless);
        assert_eq!(era(PLAIN, Some("2026-07-28")), Err(EraError::MetaMissing));
        assert_eq!(
            era(&with_meta("2026-07-28"), None),
            Err(EraError::Header(HeaderError::Missing(
                "MCP-Protocol-Version".into()
            )))
        );
        assert_eq!(era(NOTICE, Some("2026-07-28")), stateless);
    }

    #[test]
    fn a_header_that_contradicts_the_body_is_refused() {
        let mismatch = Err(EraError::Header(HeaderError::Mismatch(
            "MCP-Protocol-Version".into(),
        )));
        assert_eq!(era(&with_meta("2026-07-28"), Some("2025-11-25")), mismatch);
        assert_eq!(era(&with_meta("2025-11-25"), Some("2026-07-28")), mismatch);
    }

    #[test]
    fn unknown_revisions_are_unsupported_wherever_they_stand() {
        let unsupported = |version: &str, supported: &'static [Revision]| {
            Err(EraError::Unsupported {
                requested: version.into(),
                supported,
            })
        };
        let all = &Revision::SUPPORTED;
        assert_eq!(era(PLAIN, Some("1900-01-01")), unsupported("1900-01-01", all));
        let long = "x".repeat(100);
        assert_eq!(era(PLAIN, Some(&long)), unsupported(&"x".repeat(64), all));
    }

    #[test]
    fn a_request_that_names_its_own_revision_is_offered_those_that_do() {
        for header in [None, Some("1900-01-01")] {
            let Err(EraError::Unsupported { supported, .. }) = era(&with_meta("1900-01-01"), header) else {
                panic!("supported");
            };
            assert_eq!(supported, Revision::STATELESS);
            assert!(supported.iter().all(|revision| revision.is_stateless()));
        }
    }

    #[test]
    fn initialize_is_no_method_of_the_stateless_era() {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"_meta":{{"{META_PROTOCOL_VERSION}":"2026-07-28"}}}}}}"#
        );
        assert_eq!(
            era(&text, Some("2026-07-28")),
            Ok(Era::Stateless(Revision::V2026_07_28))
        );
        assert!(matches!(era(&text, None), Err(EraError::Header(_))));
    }

    #[test]
    fn initialize_opens_a_session_whatever_it_names() {
        let initialize = |version: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{version}"}}}}"#
            )
        };
        let asked = initialize("2025-06-18");
        assert_eq!(era(&asked, None), Ok(Era::Session(Revision::V2025_06_18)));
        assert_eq!(
            era(&asked, Some("2025-11-25")),
            Ok(Era::Session(Revision::V2025_06_18))
        );
        for other in ["2026-07-28", "2024-11-05"] {
            assert_eq!(
                era(&initialize(other), None),
                Ok(Era::Session(Revision::V2025_11_25))
            );
        }
        assert!(matches!(
            era(&asked, Some("2026-07-28")),
            Err(EraError::Header(_))
        ));
        let nothing = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
        assert_eq!(era(nothing, None), Err(EraError::InitializeVersion));
    }

    #[test]
    fn the_version_in_meta_is_a_string() {
        for meta in ["1", "{\"io.modelcontextprotocol/protocolVersion\":7}"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"_meta":{meta}}}}}"#);
            assert_eq!(era(&text, Some("2026-07-28")), Err(EraError::MetaType));
        }
    }

    #[test]
    fn a_response_belongs_to_a_session() {
        let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        assert_eq!(
            era(response, Some("2025-06-18")),
            Ok(Era::Session(Revision::V2025_06_18))
        );
        assert_eq!(era(response, Some("2026-07-28")), Err(EraError::Response));
    }

    #[test]
    fn a_repeated_header_is_refused() {
        let pairs: [(&str, &[u8]); 2] = [
            ("MCP-Protocol-Version", b"2025-06-18"),
            ("mcp-protocol-version", b"2026-07-28"),
        ];
        let found = Era::of(&message(PLAIN), &Headers::new(&pairs));
        assert!(matches!(found, Err(EraError::Header(HeaderError::Repeated(_)))));
        assert!(Era::of_headers(&Headers::new(&pairs)).is_err());
    }
}
