//! Resources: protected APIs and MCP servers, their scopes, and who holds what there.

use crate::authorization_details::{DetailType, DetailTypeSpec};
use crate::glob::{Glob, PathGlob};
use crate::id::ResourceId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::scope::{Authority, Scope, ScopeSet};
use crate::time::Ttl;
use crate::upstream::UpstreamUrl;
use crate::uri::ResourceUri;
use crate::user::UserSpec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is specific to a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResourceSpec {
    /// The resource URI (RFC 8707 §2): the `aud` of its tokens.
    pub uri: ResourceUri,
    /// Its scopes.
    pub scopes: BTreeMap<Scope, ScopeSpec>,
    /// The types of authorization details that it knows (RFC 9396 §2.1).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub authorization_details_types: BTreeMap<DetailType, DetailTypeSpec>,
    /// What a client gets that asks for no scope.
    #[serde(default)]
    pub default_scopes: ScopeSet,
    /// Where calls go on, if they pass through Chancery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// Which scopes each tool needs, and which form of it is accepted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, Entry>,
    /// The same for each prompt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompts: BTreeMap<String, Entry>,
    /// Which scopes documents need, by globs over their URIs. Where several match, all of theirs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub documents: BTreeMap<Glob, ScopeSet>,
    /// What a person holds and so may delegate: a role, or `group:NAME`, and the scopes it gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holders: BTreeMap<String, ScopeSet>,
    /// How it is enforced.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// The accountable person or group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// The agent behind the resource, if it is one: only this agent may exchange tokens it received there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Name>,
    /// Signature algorithm of its tokens. Default ES256.
    #[serde(default)]
    pub algorithm: TokenAlgorithm,
    /// Lifetime of its tokens. Default: 5 minutes where it verifies offline, else 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Ttl>,
}

/// A resource.
pub type Resource = Record<ResourceId, ResourceSpec>;

/// Where calls go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Upstream {
    /// To an MCP server. The resource's URI is `{base}/mcp/{name}`.
    Mcp {
        /// Its endpoint.
        url: UpstreamUrl,
        /// The connection whose credential goes along. It must reach the endpoint.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connection: Option<Name>,
    },
    /// To a connection, as HTTP requests. The resource's URI is `{base}/broker/{connection}`.
    Http {
        /// The connection.
        connection: Name,
        /// Which scopes requests need. What no route matches is not sent on.
        routes: Vec<Route>,
    },
}

impl Upstream {
    /// The connection whose credential goes along.
    pub fn connection(&self) -> Option<&Name> {
        match self {
            Self::Mcp { connection, .. } => connection.as_ref(),
            Self::Http { connection, .. } => Some(connection),
        }
    }

    /// The one URI that a resource of this name has below a tenant's base.
    pub fn resource_uri(&self, base: &str, name: &str) -> String {
        match self {
            Self::Mcp { .. } => format!("{base}/mcp/{name}"),
            Self::Http { connection, .. } => format!("{base}/broker/{connection}"),
        }
    }
}

/// Which scopes a request needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Methods in capitals; none means any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub methods: BTreeSet<String>,
    /// The path that follows the connection's `base_url`.
    pub path: PathGlob,
    /// The scopes.
    pub scopes: ScopeSet,
}

impl Route {
    /// Whether a request is on this route. The path is normalised.
    pub fn matches(&self, method: &str, path: &str) -> bool {
        (self.methods.is_empty() || self.methods.contains(method)) && self.path.matches(path)
    }
}

/// Which scopes a tool or prompt needs. Written as a list of scopes, or with the manifest that is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenEntry", into = "WrittenEntry")]
pub struct Entry {
    /// The scopes.
    pub scopes: ScopeSet,
    /// The digest of the only definition that is accepted: `sha256:` and 64 hexadecimal digits.
    pub manifest: Option<String>,
}

impl From<ScopeSet> for Entry {
    fn from(scopes: ScopeSet) -> Self {
        Self {
            scopes,
            manifest: None,
        }
    }
}

impl Entry {
    /// Whether a definition with this digest is accepted.
    pub fn accepts(&self, manifest: &str) -> bool {
        self.manifest.as_ref().is_none_or(|accepted| accepted == manifest)
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenEntry {
    Scopes(ScopeSet),
    Full(FullEntry),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullEntry {
    scopes: ScopeSet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
}

impl From<WrittenEntry> for Entry {
    fn from(written: WrittenEntry) -> Self {
        match written {
            WrittenEntry::Scopes(scopes) => scopes.into(),
            WrittenEntry::Full(FullEntry { scopes, manifest }) => Self { scopes, manifest },
        }
    }
}

impl From<Entry> for WrittenEntry {
    fn from(entry: Entry) -> Self {
        let Entry { scopes, manifest } = entry;
        match manifest {
            None => Self::Scopes(scopes),
            manifest => Self::Full(FullEntry { scopes, manifest }),
        }
    }
}

/// One scope of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ScopeSpec {
    /// What it allows, in plain words.
    #[serde(default)]
    pub description: String,
    /// How much harm it can do.
    #[serde(default)]
    pub sensitivity: Sensitivity,
    /// What the agent behind the resource may exchange a token with this scope for, within every other limit.
    #[serde(default, skip_serializing_if = "Authority::is_empty")]
    pub carries: Authority,
}

/// How much harm a scope can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// Reads.
    Read,
    /// Changes things.
    #[default]
    Write,
    /// Destroys things, moves money, speaks for the person.
    Sensitive,
}

impl Sensitivity {
    /// The word that policies compare.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Sensitive => "sensitive",
        }
    }
}

/// Who checks calls to a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// The resource itself, offline, with any JWT library.
    #[default]
    #[serde(rename = "self")]
    Itself,
    /// A gateway that asks us for each call.
    External,
    /// Our own gateway.
    Gateway,
}

/// How a resource's tokens are signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum TokenAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

impl ResourceSpec {
    /// Every scope of the resource.
    pub fn all_scopes(&self) -> ScopeSet {
        self.scopes.keys().cloned().collect()
    }

    /// What a person may delegate here.
    pub fn held_by(&self, user: &UserSpec) -> ScopeSet {
        let mut held = ScopeSet::default();
        for (holder, scopes) in &self.holders {
            if user.holds(holder) {
                held = held.union(scopes);
            }
        }
        held
    }

    /// How long its tokens live: short where revocation cannot be seen, longer where each use is checked.
    pub fn token_lifetime(&self) -> Ttl {
        let default = match self.enforcement {
            Enforcement::Itself => Ttl::from_minutes(5),
            Enforcement::External | Enforcement::Gateway => Ttl::from_minutes(60),
        };
        self.lifetime.unwrap_or(default)
    }
}

impl ResourceSpec {
    /// The scopes that a document needs; `None` if no glob matches its URI.
    pub fn document_scopes(&self, uri: &str) -> Option<ScopeSet> {
        let mut matching = self
            .documents
            .iter()
            .filter(|(glob, _)| glob.matches(uri))
            .map(|(_, scopes)| scopes);
        let first = matching.next()?.clone();
        Some(matching.fold(first, |all, scopes| all.union(scopes)))
    }

    /// The scopes that a request needs: of every route that it is on. `None` if it is on none.
    pub fn request_scopes(&self, method: &str, path: &str) -> Option<ScopeSet> {
        let Some(Upstream::Http { routes, .. }) = &self.upstream else {
            return None;
        };
        let mut matching = routes.iter().filter(|route| route.matches(method, path));
        let first = matching.next()?.scopes.clone();
        Some(matching.fold(first, |all, route| all.union(&route.scopes)))
    }

    /// Whether a call that this maps is no longer mapped, or needs more, in `new`.
    pub fn maps_more_than(&self, new: &Self) -> bool {
        let lost = |old: &BTreeMap<String, Entry>, new: &BTreeMap<String, Entry>| {
            old.iter().any(|(name, entry)| {
                new.get(name)
                    .is_none_or(|now| !now.scopes.is_subset(&entry.scopes) || now.manifest != entry.manifest)
            })
        };
        lost(&self.tools, &new.tools) || lost(&self.prompts, &new.prompts) || self.documents != new.documents
    }

    fn check_details(&self) -> Result<(), SpecError> {
        const FIELD: &str = "authorization_details_types";
        let types = &self.authorization_details_types;
        if types.is_empty() {
            return Ok(());
        }
        // SECURITY: the gateway matches no call with a detail; a person would agree to less than what can be done.
        if self.enforcement == Enforcement::Gateway {
            return Err(SpecError::field(
                FIELD,
                "are for resources that look at the details themselves; the gateway looks at scopes",
            ));
        }
        let is_described = |spec: &DetailTypeSpec| {
            crate::redirect::is_plain_text(&spec.description, 200)
                && spec.schema.is_object()
                && !spec.scopes.is_empty()
        };
        let needs_detail = |spec: &DetailTypeSpec| {
            let mut defaults = self.default_scopes.iter();
            spec.required && defaults.any(|scope| spec.scopes.contains(scope))
        };
        if types.values().any(needs_detail) {
            return Err(SpecError::field(
                FIELD,
                "have no scope that is given by default, unless `required` is false: nobody would get it without a detail",
            ));
        }
        if types.len() > 64 || !types.values().all(is_described) {
            return Err(SpecError::field(
                FIELD,
                "are at most 64, each with a plain description of at most 200 characters, a schema and at least one scope",
            ));
        }
        Ok(())
    }

    fn named_scopes(&self) -> impl Iterator<Item = &ScopeSet> {
        let entries = self.tools.values().chain(self.prompts.values());
        let routes = match &self.upstream {
            Some(Upstream::Http { routes, .. }) => routes.as_slice(),
            Some(Upstream::Mcp { .. }) | None => &[],
        };
        entries
            .map(|entry| &entry.scopes)
            .chain(self.holders.values())
            .chain(self.documents.values())
            .chain(self.authorization_details_types.values().map(|spec| &spec.scopes))
            .chain(routes.iter().map(|route| &route.scopes))
    }

    fn check_upstream(&self) -> Result<(), SpecError> {
        let manifests = self.tools.values().chain(self.prompts.values());
        if !manifests
            .filter_map(|entry| entry.manifest.as_ref())
            .all(|text| is_digest(text))
        {
            return Err(SpecError::field(
                "manifest",
                "is `sha256:` and 64 hexadecimal digits",
            ));
        }
        let Some(upstream) = &self.upstream else {
            return Ok(());
        };
        if self.enforcement != Enforcement::Gateway {
            return Err(SpecError::field(
                "enforcement",
                "is `gateway` where there is an `upstream`",
            ));
        }
        let is_method = |method: &String| {
            (1..=32).contains(&method.len())
                && method
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        };
        match upstream {
            Upstream::Http { routes, .. }
                if routes.len() > 1_024
                    || !routes.iter().all(|route| route.methods.iter().all(is_method)) =>
            {
                Err(SpecError::field(
                    "upstream.http.routes",
                    "are at most 1,024, with methods in capitals",
                ))
            }
            Upstream::Http { .. } | Upstream::Mcp { .. } => Ok(()),
        }
    }
}

fn is_digest(text: &str) -> bool {
    let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hexadecimal))
}

impl Spec for ResourceSpec {
    type Id = ResourceId;
    const NOUN: Noun = Noun::Resource;

    fn check(&self, name: &Name) -> Result<(), SpecError> {
        if name.as_str().contains([':', '/', '@']) {
            return Err(SpecError::field("name", "of a resource has no `:`, `/` or `@`"));
        }
        let all = self.all_scopes();
        if all.is_empty() || all.len() > 256 {
            return Err(SpecError::field("scopes", "are 1 to 256"));
        }
        if !self.default_scopes.is_subset(&all) {
            return Err(SpecError::field("default_scopes", "are scopes of the resource"));
        }
        if !self.named_scopes().all(|scopes| scopes.is_subset(&all)) {
            return Err(SpecError::field(
                "holders",
                "and what else names scopes names only scopes of the resource",
            ));
        }
        self.check_upstream()?;
        self.check_details()?;
        let offline = self.enforcement == Enforcement::Itself;
        let longest = if offline {
            Ttl::from_minutes(60)
        } else {
            Ttl::from_days(1)
        };
        if self
            .lifetime
            .is_some_and(|lifetime| lifetime > longest || lifetime < Ttl::from_seconds(10))
        {
            return Err(SpecError::field(
                "lifetime",
                "is 10 seconds to 60 minutes (a day where each use is checked)",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[expect(
        clippy::needless_pass_by_value,
        reason = "a test writes its JSON where it calls"
    )]
    fn resource(extra: Value) -> ResourceSpec {
        let mut spec = json!({ "uri": "https://x.example", "scopes": { "read": {}, "write": {} } });
        for (field, value) in extra.as_object().unwrap() {
            spec[field] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn check(spec: &ResourceSpec) -> Result<(), SpecError> {
        spec.check(&"notes".parse().unwrap())
    }

    #[test]
    fn a_tool_is_written_as_its_scopes_or_with_its_manifest() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let tools = json!({ "list": ["read"], "save": { "scopes": ["write"], "manifest": digest } });
        let spec = resource(json!({ "tools": tools }));
        assert_eq!(check(&spec), Ok(()));
        assert_eq!(serde_json::to_value(&spec).unwrap()["tools"], tools);
        assert!(spec.tools["save"].accepts(&digest) && !spec.tools["save"].accepts("sha256:00"));
        assert!(spec.tools["list"].accepts("sha256:00"));
        let other =
            resource(json!({ "tools": { "save": { "scopes": ["write"], "manifest": "sha256:AB" } } }));
        assert!(check(&other).is_err());
        let extra = json!({ "uri": "https://x.example", "scopes": { "read": {} }, "tools": { "a": { "scopes": [], "x": 1 } } });
        assert!(serde_json::from_value::<ResourceSpec>(extra).is_err());
    }

    #[test]
    fn what_matches_several_rules_needs_the_scopes_of_all() {
        let spec = resource(json!({
            "enforcement": "gateway",
            "documents": { "notes://**": ["read"], "notes://private/*": ["write"] },
            "upstream": { "http": { "connection": "github", "routes": [
                { "methods": ["GET"], "path": "/**", "scopes": ["read"] },
                { "path": "/admin/**", "scopes": ["write"] },
            ] } },
        }));
        assert_eq!(check(&spec), Ok(()));
        let text = |scopes: Option<ScopeSet>| scopes.map(|scopes| scopes.to_string());
        assert_eq!(text(spec.document_scopes("notes://a")), Some("read".to_owned()));
        assert_eq!(
            text(spec.document_scopes("notes://private/a")),
            Some("read write".to_owned())
        );
        assert_eq!(text(spec.document_scopes("mail://a")), None);
        assert_eq!(
            text(spec.request_scopes("GET", "/admin/x")),
            Some("read write".to_owned())
        );
        assert_eq!(text(spec.request_scopes("POST", "/x")), None);
    }

    #[test]
    fn everything_that_names_scopes_names_scopes_of_the_resource() {
        for extra in [
            json!({ "tools": { "a": ["delete"] } }),
            json!({ "prompts": { "a": ["delete"] } }),
            json!({ "documents": { "a://*": ["delete"] } }),
            json!({ "holders": { "staff": ["delete"] } }),
            json!({ "enforcement": "gateway", "upstream": { "http": { "connection": "c", "routes": [{ "path": "/", "scopes": ["delete"] }] } } }),
        ] {
            assert!(check(&resource(extra.clone())).is_err(), "{extra}");
        }
    }

    #[test]
    fn calls_that_go_on_pass_through_the_gateway() {
        let mcp = json!({ "mcp": { "url": "https://mcp.example/mcp" } });
        assert!(check(&resource(json!({ "upstream": mcp }))).is_err());
        assert!(check(&resource(json!({ "upstream": mcp, "enforcement": "gateway" }))).is_ok());
    }

    #[test]
    fn taking_a_mapping_away_is_noticed_and_adding_one_is_not() {
        let old = resource(json!({ "tools": { "a": ["read"] } }));
        let more = resource(json!({ "tools": { "a": ["read"], "b": ["read"] } }));
        let stricter = resource(json!({ "tools": { "a": ["read", "write"] } }));
        assert!(!old.maps_more_than(&more) && more.maps_more_than(&old));
        assert!(old.maps_more_than(&stricter) && !old.maps_more_than(&old));
    }
}
