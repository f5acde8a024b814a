//! The authorization details that a token is to have (RFC 9396 §3, §5, §6): those that the request names, or those of what
//! it stands on, each against the schema of its type as the resource has it now.
//!
//! Whether what the token stands on holds them is decided by the grants, in `chancery_oauth::grant::details`.

use crate::error::{Failure, Refusal};
use crate::gateway::target::argument;
use chancery_core::authorization_details::{AuthorizationDetails, DetailFacts, DetailType, DetailTypeSpec};
use chancery_core::call::Argument;
use chancery_core::client::Client;
use chancery_core::resource::ResourceSpec;
use chancery_mcp::fields::policy_fields;
use chancery_mcp::schema::InputSchema;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::grant::Target;
use chancery_oauth::grant::details::{CheckedDetails, inherited, known};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The details of a request: as it names them, else of those that what it stands on holds.
///
/// # Errors
/// `invalid_authorization_details`.
pub fn wanted(
    target: &Target,
    client: &Client,
    (named, held): (Option<&AuthorizationDetails>, Option<&AuthorizationDetails>),
    scope: Option<&str>,
) -> Result<CheckedDetails, Failure> {
    match (named, held) {
        (Some(named), _) => asked(target, client, named),
        (None, Some(held)) => checked(target, inherited(held, target, scope)),
        (None, None) => Ok(CheckedDetails::default()),
    }
}

/// Details that a client asks for by itself. It asks for the types that it is registered with (§10).
///
/// # Errors
/// `invalid_authorization_details`.
pub fn asked(
    target: &Target,
    client: &Client,
    details: &AuthorizationDetails,
) -> Result<CheckedDetails, Failure> {
    let registered = &client.spec.authorization_details_types;
    if !details.iter().all(|detail| registered.contains(detail.kind())) {
        return Err(NOT_REGISTERED.into());
    }
    checked(target, details.clone())
}

/// Details that were asked for before, as their types are now.
///
/// # Errors
/// `invalid_authorization_details`.
pub fn checked(target: &Target, details: AuthorizationDetails) -> Result<CheckedDetails, Failure> {
    if details.is_empty() {
        return Ok(CheckedDetails::default());
    }
    let Target::Resource(resource) = target else {
        return Err(NO_RESOURCE.into());
    };
    let mut facts = Vec::new();
    for detail in details.iter() {
        facts.push(DetailFacts {
            kind: detail.kind().clone(),
            members: members(known(resource, detail)?, &detail.members())?,
        });
    }
    Ok(CheckedDetails::new(details, facts))
}

/// What policies see of the members, which fit the schema closed-world: whatever it does not declare is refused.
fn members(
    spec: &DetailTypeSpec,
    members: &Map<String, Value>,
) -> Result<BTreeMap<String, Argument>, Failure> {
    let schema = InputSchema::compile(&spec.schema).map_err(Failure::internal)?;
    schema.validate(members).map_err(|error| {
        tracing::info!(%error, "an authorization detail does not fit its type");
        MISFIT
    })?;
    let fields = policy_fields(&schema, members).map_err(|error| {
        tracing::info!(%error, "an authorization detail cannot be read by policy");
        MISFIT
    })?;
    let fields = fields.into_iter();
    Ok(fields.map(|(name, field)| (name, argument(field))).collect())
}

/// Whether every type of a resource has a schema that details can be checked against.
///
/// # Errors
/// The first that has none.
pub fn check_types(types: &BTreeMap<DetailType, DetailTypeSpec>) -> Result<(), Refusal> {
    for (kind, spec) in types {
        InputSchema::compile(&spec.schema).map_err(|error| {
            Refusal::Invalid(format!("`authorization_details_types.{kind}.schema`: {error}"))
        })?;
    }
    Ok(())
}

/// Whether a resource knows every type that a grant names.
///
/// # Errors
/// The first that it does not know.
pub fn check_named(named: &BTreeSet<DetailType>, resource: &ResourceSpec) -> Result<(), Refusal> {
    let types = &resource.authorization_details_types;
    match named.iter().find(|kind| !types.contains_key(kind)) {
        None => Ok(()),
        Some(unknown) => Err(Refusal::Invalid(format!(
            "`authorization_details_types` has `{unknown}`, which resource `{}` does not know",
            resource.uri
        ))),
    }
}

const CODE: ErrorCode = ErrorCode::InvalidAuthorizationDetails;
const NOT_REGISTERED: OAuthError = OAuthError::new(
    CODE,
    "this client is not registered for this type of authorization details; see its `authorization_details_types`",
);
const NO_RESOURCE: OAuthError = OAuthError::new(
    CODE,
    "authorization_details are for one resource: name it as `resource`",
);
const MISFIT: OAuthError = OAuthError::new(
    CODE,
    "a detail does not fit the schema of its type at this resource",
);
