//! The methods of every revision, and what a request of each is about.
//!
//! The list is closed: a request whose method is not on it, or not in the revision that it is under, is
//! [`Call::Unknown`] and never forwarded. Methods are spelled as in the schemas of 2025-03-26, 2025-06-18,
//! 2025-11-25 and 2026-07-28, and of the extension `io.modelcontextprotocol/tasks`.
//!
//! Does not decide, and does not look into arguments (`schema`).

use crate::envelope::{Notification, Object, Request};
use crate::era::{Era, Revision};
use crate::members::is_look_alike;
use serde_json::Value;

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// A method that a client may call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Method {
            $($(#[$doc])* $name,)+
        }

        impl Method {
            /// Every method.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

methods! {
    /// Runs a tool.
    ToolsCall = "tools/call",
    /// Fills a prompt.
    PromptsGet = "prompts/get",
    /// Reads a resource.
    ResourcesRead = "resources/read",
    /// Asks for notices of a resource.
    ResourcesSubscribe = "resources/subscribe",
    /// Ends such notices.
    ResourcesUnsubscribe = "resources/unsubscribe",
    /// Completes an argument of a prompt or a template.
    CompletionComplete = "completion/complete",
    /// Lists tools.
    ToolsList = "tools/list",
    /// Lists prompts.
    PromptsList = "prompts/list",
    /// Lists resources.
    ResourcesList = "resources/list",
    /// Lists templates of resources.
    ResourcesTemplatesList = "resources/templates/list",
    /// Opens a session.
    Initialize = "initialize",
    /// Asks whether the server is there.
    Ping = "ping",
    /// Sets what the server logs to the client.
    LoggingSetLevel = "logging/setLevel",
    /// Asks what the server can do.
    ServerDiscover = "server/discover",
    /// Opens a stream of notices.
    SubscriptionsListen = "subscriptions/listen",
    /// Asks how a task stands.
    TasksGet = "tasks/get",
    /// Waits for the result of a task.
    TasksResult = "tasks/result",
    /// Lists tasks.
    TasksList = "tasks/list",
    /// Ends a task.
    TasksCancel = "tasks/cancel",
    /// Gives a task what it asked for.
    TasksUpdate = "tasks/update",
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Something that policy decides.
    Decided(Target),
    /// A listing, which is filtered.
    Listing(Listing),
    /// A stream of notices, of these resources and tasks among others: each resource is decided.
    Listen {
        /// URIs of resources.
        resources: Vec<String>,
        /// Ids of tasks.
        tasks: Vec<String>,
    },
    /// A task of an earlier call, by its id; `tasks/list` has none.
    Task {
        /// What is asked.
        method: Method,
        /// Which task.
        id: Option<String>,
    },
    /// What belongs to the connection and passes.
    Session(SessionCall),
    /// A method that does not exist in this revision: refused, never passed.
    Unknown,
}

/// What policy decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A call of a tool.
    Tool {
        /// Its name.
        name: String,
    },
    /// A prompt to fill.
    Prompt {
        /// Its name.
        name: String,
    },
    /// A resource to read.
    Resource {
        /// Its URI.
        uri: String,
    },
    /// Notices of a resource.
    Subscription {
        /// Its URI.
        uri: String,
        /// Whether they begin or end.
        begins: bool,
    },
    /// A completion of an argument of a prompt.
    PromptCompletion {
        /// The prompt.
        name: String,
    },
    /// A completion of a variable of a template.
    TemplateCompletion {
        /// The URI or URI template.
        uri: String,
    },
}

/// What a listing lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listing {
    /// Tools.
    Tools,
    /// Prompts.
    Prompts,
    /// Resources.
    Resources,
    /// Templates of resources.
    ResourceTemplates,
}

/// What passes without a decision of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCall {
    /// `initialize`.
    Initialize,
    /// `ping`.
    Ping,
    /// `server/discover`.
    Discover,
    /// `logging/setLevel`.
    SetLevel,
    /// A notification.
    Notification,
}

/// Why a request does not say what it is about. All are -32602.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A parameter that the method needs is missing.
    #[error("the parameter `{0}` is missing")]
    Missing(&'static str),
    /// A parameter has the wrong type.
    #[error("the parameter `{0}` has the wrong type")]
    Type(&'static str),
    /// A name or URI is empty, too long, or has control characters.
    #[error("the parameter `{0}` is empty, too long, or has control characters")]
    Text(&'static str),
    /// A parameter differs from a known one in case only.
    #[error("a parameter differs from a known one in case only")]
    LookAlike,
    /// A reference is neither to a prompt nor to a resource.
    #[error("`ref` is neither `ref/prompt` nor `ref/resource`")]
    Reference,
}

impl Method {
    /// The method with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.as_str() == text)
    }

    /// Whether it exists in a revision.
    pub const fn exists_in(self, revision: Revision) -> bool {
        match self {
            Self::ToolsCall
            | Self::PromptsGet
            | Self::ResourcesRead
            | Self::CompletionComplete
            | Self::ToolsList
            | Self::PromptsList
            | Self::ResourcesList
            | Self::ResourcesTemplatesList => true,
            Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::Initialize
            | Self::Ping
            | Self::LoggingSetLevel => !revision.is_stateless(),
            Self::ServerDiscover | Self::SubscriptionsListen | Self::TasksUpdate => revision.is_stateless(),
            Self::TasksGet | Self::TasksCancel => {
                matches!(revision, Revision::V2025_11_25 | Revision::V2026_07_28)
            }
            Self::TasksResult | Self::TasksList => matches!(revision, Revision::V2025_11_25),
        }
    }
}

impl Call {
    /// What a request is about, in its era.
    ///
    /// # Errors
    /// The first parameter that is missing, has the wrong type, or could be mistaken for another.
    pub fn of_request(request: &Request, era: Era) -> Result<Self, TargetError> {
        let known = Method::parse(&request.method).filter(|method| method.exists_in(era.revision()));
        let Some(method) = known else {
            return Ok(Self::Unknown);
        };
        if let Some(params) = &request.params {
            check_names(params, PARAMETERS)?;
        }
        let params = request.params.as_ref();
        Ok(match method {
            Method::ToolsCall => {
                arguments(request)?;
                Self::Decided(Target::Tool {
                    name: text(params, "name")?,
                })
            }
            Method::PromptsGet => {
                arguments(request)?;
                Self::Decided(Target::Prompt {
                    name: text(params, "name")?,
                })
            }
            Method::ResourcesRead => Self::Decided(Target::Resource {
                uri: text(params, "uri")?,
            }),
            Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
                let begins = method == Method::ResourcesSubscribe;
                Self::Decided(Target::Subscription {
                    uri: text(params, "uri")?,
                    begins,
                })
            }
            Method::CompletionComplete => Self::Decided(completion(params)?),
            Method::ToolsList => Self::Listing(Listing::Tools),
            Method::PromptsList => Self::Listing(Listing::Prompts),
            Method::ResourcesList => Self::Listing(Listing::Resources),
            Method::ResourcesTemplatesList => Self::Listing(Listing::ResourceTemplates),
            Method::Initialize => Self::Session(SessionCall::Initialize),
            Method::Ping => Self::Session(SessionCall::Ping),
            Method::LoggingSetLevel => Self::Session(SessionCall::SetLevel),
            Method::ServerDiscover => Self::Session(SessionCall::Discover),
            Method::SubscriptionsListen => listen(params)?,
            Method::TasksGet | Method::TasksResult | Method::TasksCancel | Method::TasksUpdate => {
                Self::Task {
                    method,
                    id: Some(text(params, "taskId")?),
                }
            }
            Method::TasksList => Self::Task { method, id: None },
        })
    }

    /// What a notification is about. One that is named like a request, as `tools/call` without an id, is unknown:
    /// a server might run it all the same.
    pub fn of_notification(notification: &Notification) -> Self {
        if notification.method.starts_with(NOTIFICATIONS) {
            return Self::Session(SessionCall::Notification);
        }
        Self::Unknown
    }
}

impl Listing {
    /// The member of the result that holds the list.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
        }
    }

    /// The member of an item by which it is known.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::ResourceTemplates => "uriTemplate",
        }
    }
}

/// The arguments of `tools/call` or `prompts/get`; without any, an empty object.
///
/// # Errors
/// `arguments` is there and is not an object.
pub fn arguments(request: &Request) -> Result<Object, TargetError> {
    match request.param("arguments") {
        None => Ok(Object::new()),
        Some(Value::Object(arguments)) => Ok(arguments.clone()),
        Some(_) => Err(TargetError::Type("arguments")),
    }
}

fn completion(params: Option<&Object>) -> Result<Target, TargetError> {
    let reference = match params.and_then(|params| params.get("ref")) {
        None => return Err(TargetError::Missing("ref")),
        Some(Value::Object(reference)) => reference,
        Some(_) => return Err(TargetError::Type("ref")),
    };
    check_names(reference, REFERENCE)?;
    match reference.get("type").and_then(Value::as_str) {
        Some("ref/prompt") => Ok(Target::PromptCompletion {
            name: text(Some(reference), "name")?,
        }),
        Some("ref/resource") => Ok(Target::TemplateCompletion {
            uri: text(Some(reference), "uri")?,
        }),
        Some(_) | None => Err(TargetError::Reference),
    }
}

fn listen(params: Option<&Object>) -> Result<Call, TargetError> {
    let filter = match params.and_then(|params| params.get("notifications")) {
        None => return Err(TargetError::Missing("notifications")),
        Some(Value::Object(filter)) => filter,
        Some(_) => return Err(TargetError::Type("notifications")),
    };
    check_names(filter, FILTER)?;
    Ok(Call::Listen {
        resources: texts(filter, "resourceSubscriptions")?,
        tasks: texts(filter, "taskIds")?,
    })
}

fn texts(members: &Object, name: &'static str) -> Result<Vec<String>, TargetError> {
    match members.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(|item| usable(item, name)).collect(),
        Some(_) => Err(TargetError::Type(name)),
    }
}

fn text(members: Option<&Object>, name: &'static str) -> Result<String, TargetError> {
    match members.and_then(|members| members.get(name)) {
        None => Err(TargetError::Missing(name)),
        Some(value) => usable(value, name),
    }
}

// Names and URIs go into policies, records and headers.
fn usable(value: &Value, name: &'static str) -> Result<String, TargetError> {
    let Value::String(text) = value else {
        return Err(TargetError::Type(name));
    };
    if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(TargetError::Text(name));
    }
    Ok(text.clone())
}

fn check_names(members: &Object, known: &[&str]) -> Result<(), TargetError> {
    if members.keys().any(|name| is_look_alike(name, known)) {
        return Err(TargetError::LookAlike);
    }
    Ok(())
}

/// What a notification's method starts with.
const NOTIFICATIONS: &str = "notifications/";

/// The longest name or URI, in bytes.
const MAX_TEXT: usize = 4_096;

/// Parameters that mean something in some method.
const PARAMETERS: &[&str] = &[
    "_meta",
    "argument",
    "arguments",
    "capabilities",
    "clientInfo",
    "context",
    "cursor",
    "inputResponses",
    "level",
    "name",
    "notifications",
    "protocolVersion",
    "ref",
    "requestState",
    "task",
    "taskId",
    "uri",
];

/// Members of a reference.
const REFERENCE: &[&str] = &["type", "name", "uri"];

/// Members of the filter of `subscriptions/listen`.
const FILTER: &[&str] = &[
    "toolsListChanged",
    "promptsListChanged",
    "resourcesListChanged",
    "resourceSubscriptions",
    "taskIds",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RequestId;
    use serde_json::json;

    const SESSION: Era = Era::Session(Revision::V2025_11_25);
    const STATELESS: Era = Era::Stateless(Revision::V2026_07_28);

    fn request(method: &str, params: Value) -> Request {
        let Value::Object(params) = params else {
            panic!("no object");
        };
        Request {
            id: RequestId::parse("1").unwrap(),
            method: method.to_owned(),
            params: Some(params),
        }
    }

    fn call(method: &str, params: Value, era: Era) -> Result<Call, TargetError> {
        Call::of_request(&request(method, params), era)
    }

    #[test]
    fn every_method_is_read_back() {
        for method in Method::ALL {
            assert_eq!(Method::parse(method.as_str()), Some(*method));
        }
        for text in [
            "",
            "tools/Call",
            "tools/call ",
            "sampling/createMessage",
            "notifications/initialized",
        ] {
            assert_eq!(Method::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_decided_names_its_target() {
        let tool = Target::Tool { name: "pay".into() };
        assert_eq!(
            call("tools/call", json!({"name": "pay"}), SESSION),
            Ok(Call::Decided(tool))
        );
        let prompt = Target::Prompt { name: "p".into() };
        assert_eq!(
            call("prompts/get", json!({"name": "p"}), STATELESS),
            Ok(Call::Decided(prompt))
        );
        let resource = Target::Resource { uri: "a:b".into() };
        assert_eq!(
            call("resources/read", json!({"uri": "a:b"}), SESSION),
            Ok(Call::Decided(resource))
        );
        let ends = Target::Subscription {
            uri: "a:b".into(),
            begins: false,
        };
        assert_eq!(
            call("resources/unsubscribe", json!({"uri": "a:b"}), SESSION),
            Ok(Call::Decided(ends))
        );
        let completion = Target::PromptCompletion { name: "p".into() };
        let params = json!({"ref": {"type": "ref/prompt", "name": "p"}, "argument": {}});
        assert_eq!(
            call("completion/complete", params, SESSION),
            Ok(Call::Decided(completion))
        );
        let completion = Target::TemplateCompletion {
            uri: "f:///{p}".into(),
        };
        let params = json!({"ref": {"type": "ref/resource", "uri": "f:///{p}"}});
        assert_eq!(
            call("completion/complete", params, STATELESS),
            Ok(Call::Decided(completion))
        );
    }

    #[test]
    fn a_target_that_is_missing_or_ill_typed_is_refused() {
        let missing = TargetError::Missing("name");
        assert_eq!(call("tools/call", json!({}), SESSION), Err(missing));
        assert_eq!(
            call("tools/call", json!({"name": 1}), SESSION),
            Err(TargetError::Type("name"))
        );
        assert_eq!(
            call("tools/call", json!({"name": ""}), SESSION),
            Err(TargetError::Text("name"))
        );
        assert_eq!(
            call("tools/call", json!({"name": "a\n"}), SESSION),
            Err(TargetError::Text("name"))
        );
        assert_eq!(
            call("tools/call", json!({"name": "a", "arguments": null}), SESSION),
            Err(TargetError::Type("arguments"))
        );
        assert_eq!(
            call("resources/read", json!({"name": "a"}), SESSION),
            Err(TargetError::Missing("uri"))
        );
        assert_eq!(
            call(
                "completion/complete",
                json!({"ref": {"type": "ref/tool", "name": "a"}}),
                SESSION
            ),
            Err(TargetError::Reference)
        );
    }

    #[test]
    fn parameters_that_another_reader_takes_for_the_name_are_refused() {
        let params = json!({"name": "read", "Name": "delete"});
        assert_eq!(call("tools/call", params, SESSION), Err(TargetError::LookAlike));
        let params = json!({"ref": {"type": "ref/prompt", "name": "a", "NAME": "b"}});
        assert_eq!(
            call("completion/complete", params, SESSION),
            Err(TargetError::LookAlike)
        );
        let params = json!({"notifications": {"ResourceSubscriptions": ["a:b"]}});
        assert_eq!(
            call("subscriptions/listen", params, STATELESS),
            Err(TargetError::LookAlike)
        );
    }

    #[test]
    fn listings_have_their_kind() {
        for (method, listing) in [
            ("tools/list", Listing::Tools),
            ("prompts/list", Listing::Prompts),
            ("resources/list", Listing::Resources),
            ("resources/templates/list", Listing::ResourceTemplates),
        ] {
            for era in [SESSION, STATELESS] {
                assert_eq!(call(method, json!({}), era), Ok(Call::Listing(listing)));
            }
        }
    }

    #[test]
    fn a_stream_of_notices_names_the_resources_that_it_reads() {
        let params = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": ["a:b"]}});
        let listen = Call::Listen {
            resources: vec!["a:b".into()],
            tasks: Vec::new(),
        };
        assert_eq!(call("subscriptions/listen", params, STATELESS), Ok(listen));
        let params = json!({"notifications": {"resourceSubscriptions": [1]}});
        assert_eq!(
            call("subscriptions/listen", params, STATELESS),
            Err(TargetError::Type("resourceSubscriptions"))
        );
    }

    #[test]
    fn tasks_of_both_eras_name_theirs() {
        let get = Call::Task {
            method: Method::TasksGet,
            id: Some("t".into()),
        };
        for era in [SESSION, STATELESS] {
            assert_eq!(call("tasks/get", json!({"taskId": "t"}), era), Ok(get.clone()));
        }
        let list = Call::Task {
            method: Method::TasksList,
            id: None,
        };
        assert_eq!(call("tasks/list", json!({}), SESSION), Ok(list));
        assert_eq!(
            call("tasks/cancel", json!({}), SESSION),
            Err(TargetError::Missing("taskId"))
        );
    }

    #[test]
    fn methods_of_another_revision_are_unknown() {
        for method in [
            "initialize",
            "ping",
            "logging/setLevel",
            "resources/subscribe",
            "tasks/list",
            "tasks/result",
        ] {
            assert_eq!(
                call(method, json!({"uri": "a:b"}), STATELESS),
                Ok(Call::Unknown),
                "{method}"
            );
        }
        for method in ["server/discover", "subscriptions/listen", "tasks/update"] {
            assert_eq!(call(method, json!({}), SESSION), Ok(Call::Unknown), "{method}");
        }
        let old = Era::Session(Revision::V2025_06_18);
        assert_eq!(call("tasks/get", json!({"taskId": "t"}), old), Ok(Call::Unknown));
    }

    #[test]
    fn unknown_methods_never_pass() {
        for method in [
            "tools/Call",
            "tools/call/",
            "sampling/createMessage",
            "x",
            "notifications/initialized",
        ] {
            for era in [SESSION, STATELESS] {
                assert_eq!(
                    call(method, json!({"name": "a"}), era),
                    Ok(Call::Unknown),
                    "{method}"
                );
            }
        }
    }

    #[test]
    fn a_request_without_an_id_is_no_notification() {
        let of = |method: &str| {
            Call::of_notification(&Notification {
                method: method.into(),
                params: None,
            })
        };
        assert_eq!(
            of("notifications/cancelled"),
            Call::Session(SessionCall::Notification)
        );
        for method in ["tools/call", "initialize", "Notifications/x", ""] {
            assert_eq!(of(method), Call::Unknown, "{method}");
        }
    }
}
