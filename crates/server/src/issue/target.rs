//! Where a token will be used, and the nouns that its scopes and limits refer to.

use crate::app::App;
use crate::error::Failure;
use chancery_core::grant::Principal;
use chancery_core::id::TenantId;
use chancery_core::name::Name;
use chancery_core::proposal::Subject;
use chancery_core::resource::Resource;
use chancery_core::scope::Authority;
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_oauth::error::OAuthError;
use chancery_oauth::grant::token_exchange::SubjectToken;
use chancery_oauth::grant::{Directory, Target};
use chancery_oauth::request::token::TargetRequest;
use std::sync::Arc;

/// Finds the target. What is not active is as unknown as what does not exist.
///
/// # Errors
/// `invalid_target` (RFC 8707 §2).
pub async fn find(app: &App, tenant: TenantId, request: &TargetRequest) -> Result<Target, Failure> {
    match request {
        TargetRequest::Chancery => Ok(Target::Chancery),
        TargetRequest::Resource(uri) => {
            let found = app
                .directory
                .resources
                .find_by_key(tenant, uri.to_string())
                .await?;
            in_use(found).map(Target::Resource)
        }
        TargetRequest::Audience(name) => {
            if let Some(name) = name.strip_prefix("agent:") {
                let found = app.directory.agents.find_named(tenant, name).await?;
                let agent = found
                    .filter(|agent| agent.state.is_active())
                    .ok_or_else(OAuthError::invalid_target)?;
                return Ok(Target::Handover(agent));
            }
            let by_name = app.directory.resources.find_named(tenant, name).await?;
            let found = match by_name {
                Some(found) => Some(found),
                None => app.directory.resources.find_by_key(tenant, name.clone()).await?,
            };
            in_use(found).map(Target::Resource)
        }
    }
}

/// What an agent's own request refers to: its own grants.
///
/// # Errors
/// The database's.
pub async fn directory_for_agent(
    app: &App,
    tenant: TenantId,
    client: &AuthenticatedClient,
    target: &Target,
    scope: Option<&str>,
) -> Result<Directory, Failure> {
    let resources = resources(app, tenant, target, &named(&client.ceiling(), scope)).await?;
    let grants = app
        .directory
        .grants_of(tenant, &client.agent().name, &Principal::Itself)
        .await?;
    Ok(Directory { resources, grants })
}

/// What an exchange refers to: the grants to the first agent of the chain, for the person behind it.
///
/// # Errors
/// The database's.
pub async fn directory_for_subject(
    app: &App,
    tenant: TenantId,
    client: &AuthenticatedClient,
    subject: &SubjectToken,
    target: &Target,
    scope: Option<&str>,
) -> Result<Directory, Failure> {
    let (root, user) = match subject {
        SubjectToken::User { user, .. } => (client.agent().name.clone(), Some(user.user.name.clone())),
        SubjectToken::Own(own) => {
            let root = own
                .agents
                .last()
                .ok_or_else(OAuthError::invalid_target)?
                .name
                .clone();
            match own.token.subject {
                Subject::User(_) => (root, own.user.as_ref().map(|user| user.user.name.clone())),
                Subject::Agent(_) => (root, None),
            }
        }
    };
    directory_for(app, tenant, client, (root, user), (target, scope)).await
}

/// The same for the first agent of a chain and the person behind it, if there is one.
///
/// # Errors
/// The database's.
pub async fn directory_for(
    app: &App,
    tenant: TenantId,
    client: &AuthenticatedClient,
    (root, user): (Name, Option<Name>),
    (target, scope): (&Target, Option<&str>),
) -> Result<Directory, Failure> {
    let resources = resources(app, tenant, target, &named(&client.ceiling(), scope)).await?;
    let grants = match user {
        None => app.directory.grants_of(tenant, &root, &Principal::Itself).await?,
        Some(user) => {
            let mut grants = app
                .directory
                .grants_of(tenant, &root, &Principal::User(user))
                .await?;
            grants.extend(app.directory.grants_of(tenant, &root, &Principal::Tenant).await?);
            grants
        }
    };
    Ok(Directory { resources, grants })
}

/// The resources that a request names: the target, or for an agent token those in the ceiling and those asked
/// for by name.
async fn resources(
    app: &App,
    tenant: TenantId,
    target: &Target,
    names: &[Name],
) -> Result<Vec<Arc<Resource>>, Failure> {
    if let Target::Resource(resource) = target {
        return Ok(vec![resource.clone()]);
    }
    let mut resources = Vec::with_capacity(names.len());
    for name in names {
        let found = app.directory.resources.find_by_name(tenant, name).await?;
        resources.extend(found.filter(|resource| resource.state.is_active()));
    }
    Ok(resources)
}

fn named(ceiling: &Authority, scope: Option<&str>) -> Vec<Name> {
    let asked = scope
        .and_then(|scope| Authority::parse(scope).ok())
        .unwrap_or_default();
    let mut names: Vec<Name> = ceiling
        .iter()
        .chain(asked.iter())
        .map(|(name, _)| name.clone())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn in_use(found: Option<Arc<Resource>>) -> Result<Arc<Resource>, Failure> {
    found
        .filter(|resource| resource.state.is_active())
        .ok_or_else(|| OAuthError::invalid_target().into())
}
