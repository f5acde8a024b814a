//! Initial access tokens (RFC 7591 §3): made by people, shown once, kept as digests, for one agent, with an end.

use crate::app::App;
use crate::connect::hexadecimal;
use crate::directory::change::{self, Caller};
use crate::directory::view::View;
use crate::error::{Failure, Refusal};
use crate::tenants::Served;
use chancery_core::agent::AgentSpec;
use chancery_core::id::{Id as _, RegistrationTokenId};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::registration::{RegistrationToken, RegistrationTokenSpec};
use chancery_core::secret::{Secret, generate};
use chancery_core::time::Ttl;
use chancery_policy::ManagementAction;

/// Makes a token.
///
/// # Errors
/// An agent that is not there; a bound that is passed; policy's refusal.
pub async fn create(
    app: &App,
    served: &Served,
    caller: &Caller,
    agent: &str,
    (uses, lifetime): (u64, Ttl),
) -> Result<(RegistrationToken, Secret<String>), Failure> {
    if uses == 0 || lifetime > LONGEST || lifetime == Ttl::ZERO {
        return Err(
            Refusal::Invalid("a token has at least one use, and ends within 90 days".to_owned()).into(),
        );
    }
    let agent = change::load::<AgentSpec>(app, served.tenant.id, agent).await?;
    change::permit(
        served,
        caller,
        ManagementAction::AdoptClient,
        (Noun::Agent, agent.name.as_str(), agent.spec.owner.as_ref()),
    )?;
    let secret = generate(PREFIX, &*app.random);
    let id = RegistrationTokenId::generate(caller.now, &*app.random);
    let digits = id.to_string();
    let digits = digits
        .strip_prefix(RegistrationTokenId::PREFIX)
        .unwrap_or(&digits);
    let name: Name = format!("registration-{digits}")
        .parse()
        .map_err(Failure::internal)?;
    let spec = RegistrationTokenSpec {
        agent: agent.name,
        digest: hexadecimal(&crate::setup::sha256(secret.expose_secret().as_bytes())),
        uses,
        expires_at: caller.now.plus(lifetime),
    };
    let mut view = View::new(app, served.tenant.id);
    let wanted = (name, spec, Lifecycle::Active);
    let (token, work) = change::plan_create(app, served, caller, &mut view, wanted).await?;
    change::commit(app, caller, work).await?;
    Ok((token, secret))
}

/// Lets secret scanners recognise an initial access token.
const PREFIX: &str = "chi_";
const LONGEST: Ttl = Ttl::from_days(90);
