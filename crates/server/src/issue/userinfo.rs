//! UserInfo (OpenID Connect Core §5.3): what a client may know of the person who signed in to it. Taken are our own
//! access tokens for Chancery itself; a token for a resource is for that resource alone.

use crate::app::App;
use crate::error::Failure;
use crate::issue::own;
use crate::tenants::Served;
use chancery_core::id::TokenFamilyId;
use chancery_core::noun::Noun;
use chancery_core::proposal::Subject;
use serde_json::{Map, Value, json};

/// What comes of a token.
#[derive(Debug)]
pub enum UserInfo {
    /// Claims about the person.
    Person(Map<String, Value>),
    /// The token is not in force, or not for this endpoint.
    TokenRefused,
    /// The client did not ask to know who the person is.
    ScopeMissing,
}

/// Claims about the person behind a token.
///
/// # Errors
/// This node cannot answer.
pub async fn of_token(app: &App, served: &Served, text: &str) -> Result<UserInfo, Failure> {
    let now = app.serving_now()?;
    let tenant = served.tenant.id;
    let Some(own) = own::in_force(app, served, text, now).await? else {
        return Ok(UserInfo::TokenRefused);
    };
    let token = own.token;
    let Subject::User(user) = token.subject else {
        return Ok(UserInfo::ScopeMissing);
    };
    if token.audience != served.tenant.spec.base_url {
        return Ok(UserInfo::TokenRefused);
    }
    let family = match token.lineage.first::<TokenFamilyId>(Noun::TokenFamily) {
        Some(id) => app.directory.families.find(tenant, id).await?,
        None => None,
    };
    let Some(family) = family.filter(|family| family.spec.has_identity("openid")) else {
        return Ok(UserInfo::ScopeMissing);
    };
    let Some(user) = app.directory.users.find(tenant, user).await? else {
        return Ok(UserInfo::TokenRefused);
    };

    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!(user.id));
    let attributes = &user.spec.attributes;
    if family.spec.has_identity("profile") {
        claims.insert("preferred_username".to_owned(), json!(user.name));
        let name = attributes
            .get("name")
            .map(|name| ("name".to_owned(), json!(name)));
        claims.extend(name);
    }
    if family.spec.has_identity("email") {
        let email = attributes
            .get("email")
            .map(|email| ("email".to_owned(), json!(email)));
        claims.extend(email);
    }
    Ok(UserInfo::Person(claims))
}
