//! Configuration as code: a document of nouns is compared with what is stored; what differs is changed, all in
//! one batch, or nothing. The reverse is `export`.

use crate::app::App;
use crate::directory::change::{self, Caller, Work};
use crate::directory::document::{Item, Items, MAX_ITEMS};
use crate::directory::managed::Managed;
use crate::directory::secret;
use crate::directory::view::View;
use crate::error::{Failure, Refusal};
use crate::govern::policy;
use crate::setup::OWN_INTERFACE;
use crate::tenants::Served;
use chancery_core::binding::RuntimeBindingSpec;
use chancery_core::client::{ClientAuthenticationMethod, ClientSpec, Provenance};
use chancery_core::event::Change;
use chancery_core::grant::{GrantSpec, Principal};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::resource::{Resource, ResourceSpec};
use chancery_store::{Stored, record};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A document of nouns, by kind. Each item is an object with `name`, the fields of the noun, and `state`: without
/// it a new noun becomes active and an existing one stays as it is, so that applying a file never revives what was
/// killed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// Trusted issuers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_issuers: Vec<Map<String, Value>>,
    /// Connections. The accounts at them are not part of a document: a credential is set by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<Map<String, Value>>,
    /// Resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Map<String, Value>>,
    /// Blueprints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blueprints: Vec<Map<String, Value>>,
    /// Users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<Map<String, Value>>,
    /// Agents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<Map<String, Value>>,
    /// Clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Map<String, Value>>,
    /// Runtime bindings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runtime_bindings: Vec<Map<String, Value>>,
    /// Grants. A grant without a name gets one from its agent, principal and resource or connection.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Map<String, Value>>,
    /// Registration rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registration_rules: Vec<Map<String, Value>>,
    /// The text of the policy set to be in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// What was done, or would be, to one noun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is done.
    pub action: StepAction,
    /// The kind of noun.
    pub noun: Noun,
    /// Its name.
    pub name: String,
    /// The id, or the `client_id`, once it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A new client's secret: shown here, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<ShownOnce>,
}

/// A secret on its way to the one who asked for it. It never prints.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ShownOnce(pub String);

impl std::fmt::Debug for ShownOnce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What is done to a noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepAction {
    /// Made.
    Create,
    /// Given new contents or a new state.
    Update,
    /// Left as it is.
    Unchanged,
}

/// Applies a document, or says what applying it would do.
///
/// # Errors
/// The first item that is malformed, refers to nothing, or is refused by policy; nothing is changed then.
pub async fn apply(
    app: &App,
    served: &Served,
    caller: &Caller,
    document: Document,
    plan: bool,
) -> Result<Vec<Step>, Failure> {
    let mut planner = Planner {
        app,
        served,
        caller,
        view: View::new(app, served.tenant.id),
        work: Work::default(),
        steps: Vec::new(),
    };
    let items = Items::read(document, &served.tenant.spec.base_url)?;
    items.announce(&mut planner.view);
    planner.all(items.issuers).await?;
    planner.all(items.connections).await?;
    planner.resources(items.resources).await?;
    planner.all(items.blueprints).await?;
    planner.all(items.users).await?;
    planner.all(items.agents).await?;
    planner.clients(items.clients).await?;
    planner.bindings(items.bindings).await?;
    planner.grants(items.grants).await?;
    planner.all(items.registration_rules).await?;
    if let Some(text) = &items.policy {
        planner.policy(text).await?;
    }
    let Planner { work, mut steps, .. } = planner;
    if plan {
        for step in &mut steps {
            step.secret = None;
            if step.action == StepAction::Create {
                step.id = None;
            }
        }
        return Ok(steps);
    }
    change::commit(app, caller, work).await?;
    Ok(steps)
}

struct Planner<'a> {
    app: &'a App,
    served: &'a Served,
    caller: &'a Caller,
    view: View<'a>,
    work: Work,
    steps: Vec<Step>,
}

impl Planner<'_> {
    async fn all<S: Managed>(&mut self, items: Vec<Item<S>>) -> Result<(), Failure> {
        for item in items {
            let Some(name) = item.name.clone() else { continue };
            let stored = record::find_by_name::<S>(&self.app.db, self.served.tenant.id, &name).await?;
            self.one(name, item, stored).await?;
        }
        Ok(())
    }

    /// The URI of the administration interface is the tenant's own, whatever environment a file comes from.
    async fn resources(&mut self, mut items: Vec<Item<ResourceSpec>>) -> Result<(), Failure> {
        let is_own = |item: &&mut Item<ResourceSpec>| {
            item.name
                .as_ref()
                .is_some_and(|name| name.as_str() == OWN_INTERFACE)
        };
        for item in items.iter_mut().filter(is_own) {
            let own: Resource = change::load(self.app, self.served.tenant.id, OWN_INTERFACE).await?;
            item.spec.uri = own.spec.uri;
        }
        self.all(items).await
    }

    /// Plans one item and tells what it did.
    async fn one<S: Managed>(
        &mut self,
        name: Name,
        item: Item<S>,
        stored: Option<Record<S::Id, S>>,
    ) -> Result<(StepAction, S::Id), Failure> {
        let (action, id) = match stored {
            None => {
                let wanted = (name.clone(), item.spec, item.state.unwrap_or(Lifecycle::Active));
                let (record, work) =
                    change::plan_create(self.app, self.served, self.caller, &mut self.view, wanted).await?;
                self.work.extend(work);
                (StepAction::Create, record.id)
            }
            Some(stored) => self.existing(item, stored).await?,
        };
        self.steps.push(Step {
            action,
            noun: S::NOUN,
            name: name.to_string(),
            id: Some(id.to_string()),
            secret: None,
        });
        Ok((action, id))
    }

    async fn existing<S: Managed>(
        &mut self,
        item: Item<S>,
        stored: Record<S::Id, S>,
    ) -> Result<(StepAction, S::Id), Failure> {
        let id = stored.id;
        let mut action = StepAction::Unchanged;
        let mut current = stored.clone();
        let updated = change::plan_update(
            self.app,
            self.served,
            self.caller,
            &mut self.view,
            (stored, item.spec),
        )
        .await?;
        if let Some((record, work)) = updated {
            self.work.extend(work);
            current = record;
            action = StepAction::Update;
        }
        if let Some(wanted) = item.state.filter(|wanted| *wanted != current.state) {
            let step = match wanted {
                Lifecycle::Active => Change::Activated,
                Lifecycle::Suspended => Change::Suspended,
                Lifecycle::Retired => Change::Retired,
                Lifecycle::Staged => {
                    let refusal = Refusal::Lifecycle {
                        noun: S::NOUN,
                        from: current.state,
                        to: wanted,
                    };
                    return Err(refusal.into());
                }
            };
            let (_, work) = change::plan_step(self.app, self.served, self.caller, current, step)?;
            self.work.extend(work);
            action = StepAction::Update;
        }
        Ok((action, id))
    }

    /// New clients that use a secret get one.
    async fn clients(&mut self, items: Vec<Item<ClientSpec>>) -> Result<(), Failure> {
        for item in items {
            let Some(name) = item.name.clone() else { continue };
            let uses_secret = item.spec.method.uses_secret();
            let stored =
                record::find_by_name::<ClientSpec>(&self.app.db, self.served.tenant.id, &name).await?;
            let (action, id) = self.one(name, item, stored).await?;
            if action == StepAction::Create && uses_secret {
                let (secret, statement) = secret::first(self.app, self.served.tenant.id, id, self.caller.now);
                self.work.statements.push(statement);
                if let Some(step) = self.steps.last_mut() {
                    step.secret = Some(ShownOnce(secret.expose_secret().clone()));
                }
            }
        }
        Ok(())
    }

    /// A new binding makes the client that a matching token authenticates, under the binding's name.
    async fn bindings(&mut self, items: Vec<Item<RuntimeBindingSpec>>) -> Result<(), Failure> {
        for item in items {
            let Some(name) = item.name.clone() else { continue };
            let agent = item.spec.agent.clone();
            let stored =
                record::find_by_name::<RuntimeBindingSpec>(&self.app.db, self.served.tenant.id, &name)
                    .await?;
            self.one(name.clone(), item, stored).await?;
            let client = ClientSpec {
                provenance: Provenance::Runtime,
                ..ClientSpec::new(agent, ClientAuthenticationMethod::Runtime)
            };
            let stored =
                record::find_by_name::<ClientSpec>(&self.app.db, self.served.tenant.id, &name).await?;
            let item = Item {
                name: Some(name.clone()),
                state: None,
                spec: client,
            };
            self.one(name, item, stored).await?;
        }
        Ok(())
    }

    /// A grant is the one in use for its agent, principal and place, whatever its name.
    async fn grants(&mut self, items: Vec<Item<GrantSpec>>) -> Result<(), Failure> {
        for item in items {
            let tenant = self.served.tenant.id;
            let key = item.spec.natural_key(Lifecycle::Active).unwrap_or_default();
            let stored = record::find_by_natural_key::<GrantSpec>(&self.app.db, tenant, &key).await?;
            let name = match (&stored, &item.name) {
                (Some(stored), _) => stored.name.clone(),
                (None, Some(name)) => name.clone(),
                (None, None) => self.grant_name(&item.spec).await?,
            };
            let budget = item.spec.budget;
            let (_, id) = self.one(name, item, stored).await?;
            if budget.is_some() {
                self.work.statements.push(chancery_store::count_use(tenant, id));
            }
        }
        Ok(())
    }

    /// A readable name that was never used.
    async fn grant_name(&self, spec: &GrantSpec) -> Result<Name, Failure> {
        let principal = match &spec.principal {
            Principal::Itself => "self".to_owned(),
            Principal::User(user) => user.to_string(),
            Principal::Tenant => "tenant".to_owned(),
        };
        let base = format!("{}:{principal}:{}", spec.agent, spec.place());
        for number in 1..=MAX_ITEMS {
            let text = if number == 1 {
                base.clone()
            } else {
                format!("{base}:{number}")
            };
            let name: Name = text
                .parse()
                .map_err(|_| Refusal::Invalid(format!("`{text}` is no name; give the grant one")))?;
            if record::find_by_name::<GrantSpec>(&self.app.db, self.served.tenant.id, &name)
                .await?
                .is_none()
            {
                return Ok(name);
            }
        }
        Err(Refusal::Invalid(format!("give the grant `{base}` a name of its own")).into())
    }

    async fn policy(&mut self, text: &str) -> Result<(), Failure> {
        if text == self.served.policy.set.text() {
            let name = self.served.policy.name.to_string();
            self.steps.push(Step {
                action: StepAction::Unchanged,
                noun: Noun::PolicySet,
                name,
                id: None,
                secret: None,
            });
            return Ok(());
        }
        let (record, work) = policy::plan_set(self.app, self.served, self.caller, text, "applied").await?;
        self.work.extend(work);
        let (name, id) = (record.name.to_string(), Some(record.id.to_string()));
        self.steps.push(Step {
            action: StepAction::Create,
            noun: Noun::PolicySet,
            name,
            id,
            secret: None,
        });
        Ok(())
    }
}
