//! One message to an MCP server, from its bytes to the answer: parse → who calls → what → decide and record → send →
//! relay.

use crate::app::App;
use crate::approve::request::Unaskable;
use crate::error::Failure;
use crate::gateway::answer::{Answer, Rejection, denial};
use crate::gateway::approving::{Settled, settle};
use crate::gateway::asked;
use crate::gateway::caller::{self, Caller};
use crate::gateway::decision::{Decided, decide, decide_proposed};
use crate::gateway::listing::{Filter, is_shown};
use crate::gateway::manifest::{Manifest, Standing};
use crate::gateway::proposal::{Wanted, argue, propose};
use crate::gateway::relay::Relay;
use crate::gateway::session::Session;
use crate::gateway::upstream::Onward;
use crate::gateway::{connecting, relaying, target};
use crate::limits::Asking;
use crate::tenants::Served;
use bytes::Bytes;
use chancery_core::approval::AskedCall;
use chancery_core::call::UseProposal;
use chancery_core::decision::Decision;
use chancery_core::json::JsonLimits;
use chancery_core::name::Name;
use chancery_core::resource::{Resource, Upstream};
use chancery_core::time::Timestamp;
use chancery_core::upstream::UpstreamUrl;
use chancery_mcp::arguments::CanonicalRequest;
use chancery_mcp::elicitation::{declared_capabilities, opens_urls};
use chancery_mcp::envelope::{Envelope, Message, Request};
use chancery_mcp::era::Era;
use chancery_mcp::error::ErrorResponse;
use chancery_mcp::headers::{self, Headers};
use chancery_mcp::method::{Call, Listing, Target, arguments};
use chancery_policy::UsePermit;
use std::sync::Arc;

/// A request as it came in.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The resource's name, from the path.
    pub resource: &'a str,
    /// The bearer token.
    pub bearer: Option<&'a str>,
    /// Every header.
    pub headers: Headers<'a>,
    /// Which HTTP method.
    pub method: Verb,
}

/// The methods of a streamable HTTP endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A message.
    Post,
    /// A stream of the server's own messages.
    Get,
    /// The end of a session.
    Delete,
}

/// A caller at a resource, and where its calls go on.
pub(super) struct Entered {
    pub(super) caller: Caller,
    pub(super) url: UpstreamUrl,
    pub(super) now: Timestamp,
    /// Whether the client can send its person to a URL.
    pub(super) opens_urls: bool,
}

/// Answers one message.
///
/// # Errors
/// Why there is no answer of the server.
pub async fn post(
    app: &Arc<App>,
    served: &Arc<Served>,
    incoming: Incoming<'_>,
    body: &Bytes,
) -> Result<Answer, Rejection> {
    // 1. Who calls, where.
    let mut entered = enter(app, served, incoming).await?;

    // 2. What: exactly one message, which headers and body tell alike.
    let envelope = Envelope::parse(body, LIMITS)
        .map_err(|error| Rejection::malformed(ErrorResponse::of_envelope(&error), None))?;
    let message = envelope.message();
    let id = message.request_id();
    let era = Era::of(message, &incoming.headers)
        .map_err(|error| Rejection::malformed(ErrorResponse::of_era(id, &error), None))?;
    let tool = called_tool(message, era);
    let ticket = app
        .limits
        .enter(asking(served, &entered.caller, tool.as_deref()), entered.now)?;
    let manifest = app
        .gateway
        .manifests
        .of(app, served.tenant.id, entered.caller.resource.id)
        .await?;
    let parameters = tool.and_then(|name| accepted(&manifest, &entered.caller.resource, &name));
    let parameters = parameters.and_then(|pinned| pinned.headers());
    let mismatch = |error| Rejection::malformed(ErrorResponse::of_header(id, &error), Some(era));
    headers::check(era, message, &incoming.headers, parameters).map_err(mismatch)?;
    let session = session_of(served, &entered.caller, incoming)?;
    entered.opens_urls = session.as_ref().is_some_and(|session| session.opens_urls)
        || declared_capabilities(message).is_some_and(opens_urls);

    // 3. What it needs, decided and recorded.
    let (permit, body, filter) = match message {
        Message::Request(request) => asked(app, served, &entered, (request, era), (&manifest, body)).await?,
        Message::Notification(_) | Message::Response(_) => {
            let permit = told(app, served, &entered, (message, era)).await?;
            (permit, body.clone(), None)
        }
    };

    // 4. Act, and relay.
    let onward = Onward {
        method: "POST",
        body,
        headers: headers::upstream(era, message, parameters).map_err(mismatch)?,
        session: session.map(|session| session.id),
        last_event_id: None,
        trace: relaying::trace(&incoming.headers),
    };
    let relay = Relay {
        app: app.clone(),
        served: served.clone(),
        caller: entered.caller,
        permit,
        asked: id.cloned(),
        filter,
        is_stateless: era.is_stateless(),
        opens_urls: entered.opens_urls,
        ticket,
    };
    let answered = relaying::run(relay, entered.url, onward).await;
    answered.map_err(|rejection| connecting::unsent(rejection, message, (era, entered.opens_urls)))
}

/// A message that asks for nothing: a notification, or an answer to the server.
async fn told(
    app: &App,
    served: &Served,
    entered: &Entered,
    (message, era): (&Message, Era),
) -> Result<Box<UsePermit>, Rejection> {
    let what = message.method().unwrap_or("response");
    if matches!(message, Message::Response(_)) || what.starts_with("notifications/") {
        return permitted(app, served, entered, target::session(what), None).await;
    }
    let error = ErrorResponse::new(
        None,
        chancery_mcp::error::ErrorCode::MethodNotFound,
        "Method not found",
    );
    Err(Rejection::malformed(error, Some(era)))
}

/// Who asks for what, as limits count it. A tool that the resource does not name is not told from the others.
pub(crate) fn asking<'a>(served: &Served, caller: &Caller, tool: Option<&'a str>) -> Asking<'a> {
    let tool = tool.filter(|tool| caller.resource.spec.tools.contains_key(*tool));
    Asking {
        tenant: served.tenant.id,
        agent: caller.agent.id,
        user: caller.user.as_ref().map(|user| user.id),
        resource: caller.resource.id,
        tool: Some(tool.unwrap_or_default()),
    }
}

/// Finds the resource and verifies the caller.
pub(super) async fn enter(app: &App, served: &Served, incoming: Incoming<'_>) -> Result<Entered, Rejection> {
    let now = app.serving_now()?;
    let name: Name = incoming.resource.parse().map_err(|_| Rejection::NoSuchResource)?;
    let found = app
        .directory
        .resources
        .find_by_name(served.tenant.id, &name)
        .await?;
    let resource = found
        .filter(|resource| resource.state.is_active())
        .ok_or(Rejection::NoSuchResource)?;
    let Some(Upstream::Mcp { url, .. }) = resource.spec.upstream.clone() else {
        return Err(Rejection::NoSuchResource);
    };
    let challenged = resource.clone();
    match caller::verify(app, served, resource, incoming.bearer, now).await? {
        Ok(caller) => Ok(Entered {
            caller,
            url,
            now,
            opens_urls: false,
        }),
        Err(why) => Err(Rejection::Unauthenticated(why, challenged)),
    }
}

/// The upstream's session that the caller names, if it is the caller's own.
pub(super) fn session_of(
    served: &Served,
    caller: &Caller,
    incoming: Incoming<'_>,
) -> Result<Option<Session>, Rejection> {
    let presented = incoming
        .headers
        .find(crate::gateway::upstream::SESSION)
        .map_err(|_| Rejection::UnknownSession)?;
    presented
        .map(|presented| Session::unbind(served, caller, presented).ok_or(Rejection::UnknownSession))
        .transpose()
}

/// A request: what it needs, and what is sent on.
async fn asked(
    app: &App,
    served: &Served,
    entered: &Entered,
    (request, era): (&Request, Era),
    (manifest, body): (&Manifest, &Bytes),
) -> Result<(Box<UsePermit>, Bytes, Option<Filter>), Rejection> {
    let call = Call::of_request(request, era)
        .map_err(|error| Rejection::malformed(ErrorResponse::of_target(&request.id, error), Some(era)))?;
    let context = Some((request, era));
    match call {
        Call::Decided(target) => {
            let (permit, body) =
                targeted(app, served, entered, (request, era, &target), (manifest, body)).await?;
            Ok((permit, body, None))
        }
        Call::Listing(listing) => {
            let permit = permitted(app, served, entered, target::session(&request.method), context).await?;
            let filter = Filter {
                listing,
                is_private: era.is_stateless(),
            };
            Ok((permit, body.clone(), Some(filter)))
        }
        Call::Session(_) => {
            let permit = permitted(app, served, entered, target::session(&request.method), context).await?;
            Ok((permit, body.clone(), None))
        }
        Call::Listen { resources, tasks } => {
            if !tasks.is_empty() {
                return Err(Rejection::malformed(
                    ErrorResponse::method_not_found(&request.id),
                    Some(era),
                ));
            }
            for uri in resources {
                let target = Target::Resource { uri };
                let wanted = target::wanted(&entered.caller.resource.spec, manifest, &target);
                permitted(app, served, entered, wanted, context).await?;
            }
            let permit = permitted(app, served, entered, target::session(&request.method), context).await?;
            Ok((permit, body.clone(), None))
        }
        // A task's id is no proof of whose it is; until tasks are bound to their caller, none is passed.
        Call::Task { .. } | Call::Unknown => Err(Rejection::malformed(
            ErrorResponse::method_not_found(&request.id),
            Some(era),
        )),
    }
}

/// A request for one target: permitted, permitted by a yes, or what the client is told.
async fn targeted(
    app: &App,
    served: &Served,
    entered: &Entered,
    (request, era, target): (&Request, Era, &Target),
    (manifest, body): (&Manifest, &Bytes),
) -> Result<(Box<UsePermit>, Bytes), Rejection> {
    let (asked, body, call) = proposed(app, served, entered, (request, target), (manifest, body)).await?;
    let (caller, now) = (&entered.caller, entered.now);
    let decision = match decide_proposed(app, served, caller, asked, now).await? {
        Decided::Permitted(permit) => return Ok((permit, body)),
        Decided::Refused(decision) => decision,
        Decided::NeedsYes(needed) => match settle(app, served, &caller.chain, (*needed, call), now).await? {
            Settled::Permitted(permit) => return Ok((permit, body)),
            Settled::Refused(decision, _) => decision,
            Settled::Awaits(awaited) => {
                let told = asked::told(request, (era, entered.opens_urls), target, &awaited);
                return Err(told);
            }
        },
    };
    Err(refusal(app, served, entered, (request, era, target), manifest, &decision).await?)
}

/// What is proposed for a decided target, and the bytes to send: where policy reads arguments, the canonical form
/// that was checked against the schema; everything else as it came.
async fn proposed(
    app: &App,
    served: &Served,
    entered: &Entered,
    (request, target): (&Request, &Target),
    (manifest, body): (&Manifest, &Bytes),
) -> Result<((Wanted, UseProposal), Bytes, Result<AskedCall, Unaskable>), Rejection> {
    let resource = &*entered.caller.resource;
    let wanted = target::wanted(&resource.spec, manifest, target);
    let mut proposal = propose(app, served, &entered.caller, wanted.clone(), entered.now).await?;
    if !asked::is_canonical(target) || !served.policy.set.reads_arguments(&proposal.facts) {
        return Ok(((wanted, proposal), body.clone(), Err(Unaskable::Hidden)));
    }
    let malformed = |error| Rejection::malformed(ErrorResponse::of_target(&request.id, error), None);
    let arguments = arguments(request).map_err(malformed)?;
    let wanted = asked::with_arguments(wanted, manifest, (resource, target), &arguments);
    argue(&mut proposal, &wanted);
    let canonical = CanonicalRequest::of(request)
        .map_err(|_| Rejection::Failure(Failure::Internal("no canonical form".to_owned())))?;
    let call = asked::of(served, resource, manifest, (request, target, arguments));
    Ok(((wanted, proposal), Bytes::copy_from_slice(canonical.body()), call))
}

/// What the caller is told of a refusal. What it may not know of is unknown, and looks like what does not exist.
async fn refusal(
    app: &App,
    served: &Served,
    entered: &Entered,
    (request, era, target): (&Request, Era, &Target),
    manifest: &Manifest,
    decision: &Decision,
) -> Result<Rejection, Rejection> {
    let (listing, key) = match target {
        Target::Tool { name } => (Listing::Tools, name),
        Target::Prompt { name } | Target::PromptCompletion { name } => (Listing::Prompts, name),
        Target::Resource { uri } | Target::Subscription { uri, .. } => (Listing::Resources, uri),
        Target::TemplateCompletion { uri } => (Listing::ResourceTemplates, uri),
    };
    let (caller, now) = (&entered.caller, entered.now);
    if is_shown(app, served, caller, manifest, (listing, key), now).await? {
        if let Some(visit) =
            connecting::refused(app, served, (request, (era, entered.opens_urls)), decision).await?
        {
            return Ok(visit);
        }
        return Ok(denial(decision, Some((request, era)), &caller.resource));
    }
    let error = match listing {
        Listing::Tools => ErrorResponse::unknown_tool(&request.id, key),
        Listing::Prompts => ErrorResponse::unknown_prompt(&request.id, key),
        Listing::Resources | Listing::ResourceTemplates => {
            ErrorResponse::unknown_resource(&request.id, era, key)
        }
    };
    Ok(Rejection::malformed(error, Some(era)))
}

/// Decides and records; a refusal becomes what the client is told.
pub(super) async fn permitted(
    app: &App,
    served: &Served,
    entered: &Entered,
    wanted: Wanted,
    request: Option<(&Request, Era)>,
) -> Result<Box<UsePermit>, Rejection> {
    match decide(app, served, &entered.caller, wanted, entered.now).await? {
        Decided::Permitted(permit) => Ok(permit),
        Decided::Refused(decision) => {
            if let Some((request, era)) = request {
                let client = (request, (era, entered.opens_urls));
                if let Some(visit) = connecting::refused(app, served, client, &decision).await? {
                    return Err(visit);
                }
            }
            Err(denial(&decision, request, &entered.caller.resource))
        }
        Decided::NeedsYes(needed) => match settle(
            app,
            served,
            &entered.caller.chain,
            (*needed, Err(Unaskable::Hidden)),
            entered.now,
        )
        .await?
        {
            Settled::Permitted(permit) => Ok(permit),
            Settled::Refused(decision, _) => Err(denial(&decision, request, &entered.caller.resource)),
            Settled::Awaits(_) => Err(Failure::Internal("nobody can be asked about this".to_owned()).into()),
        },
    }
}

fn called_tool(message: &Message, era: Era) -> Option<String> {
    let Message::Request(request) = message else {
        return None;
    };
    match Call::of_request(request, era) {
        Ok(Call::Decided(Target::Tool { name })) => Some(name),
        Ok(_) | Err(_) => None,
    }
}

fn accepted<'a>(
    manifest: &'a Manifest,
    resource: &Resource,
    name: &str,
) -> Option<&'a crate::gateway::manifest::Pinned> {
    match manifest.standing(Listing::Tools, name, resource.spec.tools.get(name)) {
        Standing::Accepted(pinned) => Some(pinned),
        Standing::Unseen | Standing::Quarantined(_) => None,
    }
}

/// The longest message, and how deep it may be.
const LIMITS: JsonLimits = JsonLimits {
    max_bytes: 4 * 1024 * 1024,
    max_depth: 64,
};
