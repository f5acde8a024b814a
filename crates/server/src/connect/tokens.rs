//! What is sealed of an account at an OAuth 2 provider: the token that calls are made with, the one that it is refreshed
//! with, and the endpoints that they came from. A refresh token goes to no other.

use crate::app::App;
use crate::egress::openid::Provider;
use crate::error::Failure;
use crate::tenants::Served;
use chancery_core::connection::ACCESS_TOKEN;
use chancery_core::secret::Secret;
use chancery_vault::AssociatedData;
use serde_json::json;
use std::collections::BTreeMap;

/// Tokens as they are held.
#[derive(Debug)]
pub(super) struct HeldTokens {
    /// The token that calls are made with.
    pub(super) access_token: Secret<String>,
    /// The one that it is refreshed with.
    pub(super) refresh_token: Option<Secret<String>>,
    /// The endpoint that gave them.
    pub(super) token_endpoint: String,
    /// The endpoint that takes them back.
    pub(super) revocation_endpoint: Option<String>,
}

impl HeldTokens {
    /// Tokens that came from a provider just now.
    pub(super) fn new(
        access_token: Secret<String>,
        refresh_token: Option<Secret<String>>,
        endpoints: &Provider,
    ) -> Self {
        Self {
            access_token,
            refresh_token,
            token_endpoint: endpoints.token_endpoint.clone(),
            revocation_endpoint: endpoints.revocation_endpoint.clone(),
        }
    }

    /// Seals them for exactly one account, owner and destination.
    ///
    /// # Errors
    /// The vault's.
    pub(super) fn seal(
        &self,
        app: &App,
        served: &Served,
        bound: &AssociatedData,
    ) -> Result<Vec<u8>, Failure> {
        let mut content = json!({
            ACCESS_TOKEN: self.access_token.expose_secret(),
            TOKEN_ENDPOINT: self.token_endpoint,
        });
        if let Some(members) = content.as_object_mut() {
            let refresh_token = self
                .refresh_token
                .as_ref()
                .map(|token| token.expose_secret().clone());
            members.extend(refresh_token.map(|token| (REFRESH_TOKEN.to_owned(), token.into())));
            let revocation = self.revocation_endpoint.clone();
            members.extend(revocation.map(|url| (REVOCATION_ENDPOINT.to_owned(), url.into())));
        }
        let content = Secret::new(serde_json::to_vec(&content).map_err(Failure::internal)?);
        let sealed = chancery_vault::seal(served.keys.vault(), bound, &content, &*app.random);
        Ok(sealed.map_err(Failure::internal)?.to_bytes())
    }

    /// Reads what was opened.
    ///
    /// # Errors
    /// [`Failure::Internal`] for what is no such thing.
    pub(super) fn read(content: &Secret<Vec<u8>>) -> Result<Self, Failure> {
        // SECURITY: the error of the parser may show what it read, so it is not passed on.
        let broken = || Failure::Internal("sealed tokens cannot be read".to_owned());
        let mut values: BTreeMap<String, Secret<String>> =
            serde_json::from_slice(content.expose_secret()).map_err(|_| broken())?;
        let text = |value: &Secret<String>| value.expose_secret().clone();
        Ok(Self {
            access_token: values.remove(ACCESS_TOKEN).ok_or_else(broken)?,
            refresh_token: values.remove(REFRESH_TOKEN),
            token_endpoint: values.get(TOKEN_ENDPOINT).map(text).ok_or_else(broken)?,
            revocation_endpoint: values.get(REVOCATION_ENDPOINT).map(text),
        })
    }
}

const REFRESH_TOKEN: &str = "refresh_token";
const TOKEN_ENDPOINT: &str = "token_endpoint";
const REVOCATION_ENDPOINT: &str = "revocation_endpoint";
