//! What is called, and what it needs: the scopes by the resource's maps, the pinned definition, and the arguments
//! that policy reads.

use crate::gateway::manifest::{Manifest, Standing};
use crate::gateway::proposal::Wanted;
use chancery_core::call::{Argument, CallAction, Obstacle};
use chancery_core::resource::{Entry, ResourceSpec};
use chancery_core::scope::ScopeSet;
use chancery_mcp::envelope::Object;
use chancery_mcp::fields::{Field, policy_fields};
use chancery_mcp::method::{Listing, Target};
use chancery_mcp::prompt;
use std::collections::BTreeMap;

/// What a target needs before its arguments are looked at.
pub fn wanted(spec: &ResourceSpec, manifest: &Manifest, target: &Target) -> Wanted {
    match target {
        Target::Tool { name } => named(
            manifest,
            Listing::Tools,
            CallAction::CallTool,
            name,
            spec.tools.get(name),
        ),
        Target::Prompt { name } | Target::PromptCompletion { name } => named(
            manifest,
            Listing::Prompts,
            CallAction::GetPrompt,
            name,
            spec.prompts.get(name),
        ),
        Target::Resource { uri } | Target::Subscription { uri, .. } | Target::TemplateCompletion { uri } => {
            document(spec, uri)
        }
    }
}

/// The same for an item of a listing.
pub fn listed(spec: &ResourceSpec, manifest: &Manifest, listing: Listing, key: &str) -> Wanted {
    match listing {
        Listing::Tools => named(manifest, listing, CallAction::CallTool, key, spec.tools.get(key)),
        Listing::Prompts => named(
            manifest,
            listing,
            CallAction::GetPrompt,
            key,
            spec.prompts.get(key),
        ),
        Listing::Resources | Listing::ResourceTemplates => document(spec, key),
    }
}

/// Adds the arguments that policy reads. They must fit the schema of the accepted definition, closed-world, and
/// each must be representable: whatever is not stands in the way.
pub fn with_arguments(
    mut wanted: Wanted,
    manifest: &Manifest,
    entry: Option<&Entry>,
    arguments: &Object,
) -> Wanted {
    let standing = manifest.standing(Listing::Tools, &wanted.target, entry);
    let schema = match standing {
        Standing::Accepted(pinned) => pinned.schema(),
        Standing::Unseen | Standing::Quarantined(_) => None,
    };
    let fields = schema
        .filter(|schema| schema.validate(arguments).is_ok())
        .and_then(|schema| policy_fields(schema, arguments).ok());
    argued(&mut wanted, fields);
    wanted
}

/// The same for a prompt, whose arguments are texts that its accepted definition names.
pub fn with_prompt_arguments(
    mut wanted: Wanted,
    manifest: &Manifest,
    entry: Option<&Entry>,
    arguments: &Object,
) -> Wanted {
    let fields = match manifest.standing(Listing::Prompts, &wanted.target, entry) {
        Standing::Accepted(pinned) => prompt::fields(pinned.descriptor(), arguments).ok(),
        Standing::Unseen | Standing::Quarantined(_) => None,
    };
    argued(&mut wanted, fields);
    wanted
}

fn argued(wanted: &mut Wanted, fields: Option<Vec<(String, Field)>>) {
    match fields {
        Some(fields) => {
            wanted.arguments = fields
                .into_iter()
                .map(|(name, field)| (name, argument(field)))
                .collect();
        }
        None => wanted.obstacle = wanted.obstacle.or(Some(Obstacle::ArgumentsRefused)),
    }
}

/// Opening, keeping and closing a session, and listing what is there.
pub fn session(what: &str) -> Wanted {
    Wanted {
        action: CallAction::OpenSession,
        target: what.to_owned(),
        scopes: Some(ScopeSet::default()),
        arguments: BTreeMap::new(),
        obstacle: None,
        request: None,
    }
}

fn named(
    manifest: &Manifest,
    listing: Listing,
    action: CallAction,
    name: &str,
    entry: Option<&Entry>,
) -> Wanted {
    let obstacle = match manifest.standing(listing, name, entry) {
        Standing::Accepted(_) => None,
        Standing::Unseen | Standing::Quarantined(_) => Some(Obstacle::ManifestNotAccepted),
    };
    Wanted {
        action,
        target: name.to_owned(),
        scopes: entry.map(|entry| entry.scopes.clone()),
        arguments: BTreeMap::new(),
        obstacle,
        request: None,
    }
}

fn document(spec: &ResourceSpec, uri: &str) -> Wanted {
    Wanted {
        action: CallAction::ReadResource,
        target: uri.to_owned(),
        scopes: spec.document_scopes(uri),
        arguments: BTreeMap::new(),
        obstacle: None,
        request: None,
    }
}

/// A field as policies see it.
pub fn argument(field: Field) -> Argument {
    match field {
        Field::Text(text) => Argument::Text(text),
        Field::Number(number) => Argument::Number(number),
        Field::Decimal(text) => Argument::Decimal(text),
        Field::Flag(flag) => Argument::Flag(flag),
        Field::Texts(texts) => Argument::Texts(texts),
    }
}
