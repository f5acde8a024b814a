//! What people are asked about a message of MCP, and how its caller is told (2025-11-25 elicitation, "URL Mode";
//! 2026-07-28 multi round-trip requests): a tool with its arguments, a prompt with its arguments, or a document.
//! Completions and subscriptions are not put before people.

use crate::approve::request::Unaskable;
use crate::gateway::answer::Rejection;
use crate::gateway::approving::{Awaited, shown};
use crate::gateway::manifest::{Manifest, Standing};
use crate::gateway::proposal::Wanted;
use crate::gateway::target;
use crate::tenants::Served;
use chancery_core::approval::AskedCall;
use chancery_core::resource::{Entry, Resource};
use chancery_mcp::elicitation::{Lack, Visit};
use chancery_mcp::envelope::{Object, Request};
use chancery_mcp::era::Era;
use chancery_mcp::method::{Listing, Target};
use serde_json::Value;

/// Whether a target is sent on in canonical form where policy reads what is in it, or a yes to it.
pub(super) const fn is_canonical(target: &Target) -> bool {
    match target {
        Target::Tool { .. } | Target::Prompt { .. } | Target::Resource { .. } => true,
        Target::Subscription { .. } | Target::PromptCompletion { .. } | Target::TemplateCompletion { .. } => {
            false
        }
    }
}

/// Adds the arguments that policy reads, where a target has any.
pub(super) fn with_arguments(
    wanted: Wanted,
    manifest: &Manifest,
    (resource, target): (&Resource, &Target),
    arguments: &Object,
) -> Wanted {
    match target {
        Target::Tool { .. } => target::with_arguments(wanted, manifest, entry(resource, target), arguments),
        Target::Prompt { .. } => {
            target::with_prompt_arguments(wanted, manifest, entry(resource, target), arguments)
        }
        Target::Resource { .. }
        | Target::Subscription { .. }
        | Target::PromptCompletion { .. }
        | Target::TemplateCompletion { .. } => wanted,
    }
}

/// What people approve is what is sent: everything that the message says, and the definition that it fits.
pub(super) fn of(
    served: &Served,
    resource: &Resource,
    manifest: &Manifest,
    (request, target, arguments): (&Request, &Target, Object),
) -> Result<AskedCall, Unaskable> {
    // SECURITY: a parameter that nobody is shown would go on with a yes that is not to it.
    let names = request.params.iter().flat_map(Object::keys);
    if names.into_iter().any(|name| !SHOWN.contains(&name.as_str())) {
        return Err(Unaskable::Hidden);
    }
    let accepted = |listing, name: &str| match manifest.standing(listing, name, entry(resource, target)) {
        Standing::Accepted(pinned) => Ok(pinned),
        Standing::Unseen | Standing::Quarantined(_) => Err(Unaskable::Hidden),
    };
    let call = |target: &str| AskedCall {
        target: target.to_owned(),
        definition: None,
        arguments: None,
        request: None,
    };
    match target {
        Target::Tool { name } => {
            let pinned = accepted(Listing::Tools, name)?;
            let schema = pinned.schema().ok_or(Unaskable::Hidden)?;
            Ok(AskedCall {
                definition: Some(pinned.accepted().to_owned()),
                arguments: Some(shown(served, resource.id, schema, arguments)),
                ..call(name)
            })
        }
        Target::Prompt { name } => Ok(AskedCall {
            definition: Some(accepted(Listing::Prompts, name)?.accepted().to_owned()),
            arguments: Some(Value::Object(arguments)),
            ..call(name)
        }),
        Target::Resource { uri } if arguments.is_empty() => Ok(call(uri)),
        Target::Resource { .. }
        | Target::Subscription { .. }
        | Target::PromptCompletion { .. }
        | Target::TemplateCompletion { .. } => Err(Unaskable::Hidden),
    }
}

/// What a caller is told while people are asked.
pub(super) fn told(
    request: &Request,
    (era, opens_urls): (Era, bool),
    target: &Target,
    awaited: &Awaited,
) -> Rejection {
    let visit = Visit {
        id: awaited.id.to_string(),
        url: awaited.approval.approval_uri.clone(),
        message: message(awaited),
        lack: Lack::Approval,
    };
    let is_tool = matches!(target, Target::Tool { .. });
    match visit.error(&request.id, era, opens_urls).filter(|_| !is_tool) {
        Some(error) => Rejection::malformed(error, Some(era)),
        None => Rejection::Denied(visit.answer(&request.id, era, opens_urls).0),
    }
}

fn entry<'a>(resource: &'a Resource, target: &Target) -> Option<&'a Entry> {
    match target {
        Target::Tool { name } => resource.spec.tools.get(name),
        Target::Prompt { name } | Target::PromptCompletion { name } => resource.spec.prompts.get(name),
        Target::Resource { .. } | Target::Subscription { .. } | Target::TemplateCompletion { .. } => None,
    }
}

fn message(awaited: &Awaited) -> String {
    let call = awaited.decision.facts.call.as_ref();
    let target = call.map_or("this", |call| call.target.as_str());
    let number = awaited.approval.number.map_or_else(String::new, |number| {
        format!(" Whoever approves must choose the number {number}.")
    });
    format!(
        "A person must approve the call of {target}, then make the same call again (decision {}).{number} Approve at",
        awaited.decision.id
    )
}

/// The parameters that a yes is about, and those of the protocol itself.
const SHOWN: &[&str] = &[
    "_meta",
    "arguments",
    "inputResponses",
    "name",
    "requestState",
    "uri",
];
