//! People and their clients: codes, refreshing, clients with a key, a person's yes, and pages; with few grants in the
//! directory and with very many.

use crate::http::{self, Answer, encoded, with_cookie};
use crate::load::{self, Chain};
use crate::report::Report;
use crate::scenario::{self, RESOURCE, Scenario};
use crate::server::{Place, Server};
use crate::{Plan, bulk};
use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::EcdsaKeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::rc::Rc;

/// Measures all of it with few grants, and what grants could slow down with many.
pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let many = if plan.is_quick { 20_000 } else { 1_000_000 };
    let place = Place::fresh(&plan.server, &plan.folder.join("data/people"))?;
    let server = place.start().await?;
    let scenario = Scenario::set_up(&place, &server)?;
    let world = World::set_up(&server, scenario)?;
    server.stop()?;
    let secrets = bulk::sessions(&place.database_file(), &names()).await?;
    let cookies: Vec<String> = secrets
        .iter()
        .map(|secret| format!("chancery-session={secret}"))
        .collect();

    let mut there = 0;
    for (size, name) in [(1_000, FEW), (many, MANY)] {
        bulk::grants(&place.database_file(), "assistant", there..size).await?;
        there = size;
        let server = place.start().await?;
        report.add("people", format!("{name}: how many"), as_figure(size), "");
        codes(plan, (&server, &world, &cookies), name, report).await?;
        pages(plan, (&server, &world, &cookies), name, report).await?;
        server.stop()?;
    }
    let server = place.start().await?;
    with_a_key(plan, (&server, &world), report).await?;
    server.stop()?;
    approvals(plan, (&place, &world, &cookies), report).await
}

/// Few grants, and many.
pub(crate) const FEW: &str = "few grants";
/// See [`FEW`].
pub(crate) const MANY: &str = "many grants";
/// The pages that are measured.
pub(crate) const PAGES: [&str; 5] = [
    "/me/agents",
    "/approvals",
    "/console/agents",
    "/console/decisions",
    "/console/audit",
];

struct World {
    scenario: Scenario,
    app: String,
    keyed: String,
    key: EcdsaKeyPair,
}

impl World {
    fn set_up(server: &Server, scenario: Scenario) -> Result<Self> {
        let key = scenario::key()?;
        let steps = server.apply(&document(&scenario::jwk(&key)))?;
        let client = |name: &str| {
            let of_name = |step: &&Value| {
                step.get("noun") == Some(&json!("client")) && step.get("name") == Some(&json!(name))
            };
            let step = steps.iter().find(of_name).context("no client was made")?;
            let id = step.get("id").and_then(Value::as_str);
            id.map(str::to_owned).context("a client without id")
        };
        Ok(Self {
            app: client("assistant-app")?,
            keyed: client("assistant-key")?,
            scenario,
            key,
        })
    }

    fn post(&self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut all = vec![("client_id", self.app.as_str())];
        all.extend(fields);
        http::form(self.scenario.address, "/token", &all)
    }

    fn authorize(&self, number: usize, cookie: &str) -> Vec<u8> {
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
        let path = format!(
            "/authorize?response_type=code&client_id={}&redirect_uri={}&resource={}&scope=read%20offline_access&state={number}\
             &code_challenge={challenge}&code_challenge_method=S256",
            self.app,
            encoded(CALLBACK),
            encoded(RESOURCE),
        );
        with_cookie(http::read(self.scenario.address, &path), cookie)
    }

    fn redeem(&self, code: &str) -> Vec<u8> {
        self.post(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ])
    }

    fn refresh(&self, token: &str) -> Vec<u8> {
        self.post(&[("grant_type", "refresh_token"), ("refresh_token", token)])
    }
}

/// Codes of people who agreed before, their redemption, and what is refreshed on it.
async fn codes(
    plan: &Plan,
    (server, world, cookies): (&Server, &World, &[String]),
    name: &str,
    report: &mut Report,
) -> Result<()> {
    let (address, process) = (world.scenario.address, server.process);
    let mut refreshed = Vec::new();
    for connections in [1, 64] {
        let count = if plan.is_quick || connections == 1 {
            600
        } else {
            6_000
        };
        let asks = (0..count).zip(cookies.iter().cycle());
        let asks = asks
            .map(|(number, cookie)| world.authorize(number, cookie))
            .collect();
        let (outcome, answers) = load::each(address, (asks, 303), connections, process).await?;
        report.add_load("people", &format!("{name}, code"), &outcome);
        let codes = answers.iter().map(code).collect::<Result<Vec<_>>>()?;
        let redemptions = codes.iter().map(|code| world.redeem(code)).collect();
        let (outcome, answers) = load::each(address, (redemptions, 200), connections, process).await?;
        report.add_load("people", &format!("{name}, redemption of a code"), &outcome);
        refreshed = answers;
    }

    let mut tokens = refreshed.iter().map(|answer| field(answer, "refresh_token"));
    for connections in [1, 64] {
        let chains = tokens.by_ref().take(connections);
        let chains: Vec<Chain> = chains
            .map(|token| Ok(chain(world, &token?)))
            .collect::<Result<_>>()?;
        ensure!(chains.len() == connections, "too few refresh tokens");
        let outcome = load::chained(address, chains, plan.span(), process).await?;
        report.add_load("people", &format!("{name}, refreshing"), &outcome);
    }
    Ok(())
}

/// A line of refresh tokens, each gained by the one before.
fn chain(world: &World, token: &str) -> Chain {
    let (address, client) = (world.scenario.address, world.app.clone());
    Chain {
        request: world.refresh(token),
        next: Box::new(move |answer| {
            let token = field(answer, "refresh_token")?;
            let fields = [
                ("client_id", client.as_str()),
                ("grant_type", "refresh_token"),
                ("refresh_token", &token),
            ];
            Ok(http::form(address, "/token", &fields))
        }),
    }
}

/// Clients that prove themselves with a key: each assertion is used once.
async fn with_a_key(plan: &Plan, (server, world): (&Server, &World), report: &mut Report) -> Result<()> {
    let now = scenario::now()?;
    for connections in [1, 64] {
        let count = if plan.is_quick || connections == 1 {
            1_500
        } else {
            20_000
        };
        let mut requests = Vec::with_capacity(count);
        for number in 0..count {
            let claims = json!({
                "iss": world.keyed, "sub": world.keyed, "aud": world.scenario.base(), "iat": now, "exp": now + 300,
                "jti": format!("{connections}-{number}"),
            });
            let assertion = scenario::signed(&world.key, &claims)?;
            let fields = [
                ("grant_type", "client_credentials"),
                ("resource", RESOURCE),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", &assertion),
            ];
            requests.push(http::form(world.scenario.address, "/token", &fields));
        }
        let (outcome, _) = load::each(
            world.scenario.address,
            (requests, 200),
            connections,
            server.process,
        )
        .await?;
        report.add_load("people", "private_key_jwt", &outcome);
    }
    Ok(())
}

/// What a person sees, one page after the other.
async fn pages(
    plan: &Plan,
    (server, world, cookies): (&Server, &World, &[String]),
    name: &str,
    report: &mut Report,
) -> Result<()> {
    let cookie = cookies.first().context("nobody is signed in")?;
    let address = world.scenario.address;
    for page in PAGES {
        let request = with_cookie(http::read(address, page), cookie);
        let outcome = load::run(
            address,
            &Rc::new(vec![request]),
            1,
            plan.span() / 2,
            server.process,
        )
        .await?;
        report.add_load("people", &format!("{name}, page {page}"), &outcome);
    }
    Ok(())
}

/// Requests that wait for a yes, the yes of a person on the page, and its use.
async fn approvals(
    plan: &Plan,
    (place, world, cookies): (&Place, &World, &[String]),
    report: &mut Report,
) -> Result<()> {
    let count = if plan.is_quick { 400 } else { 2_000 };
    let clients = bulk::agents(&place.database_file(), 0..count, 1).await?;
    let server = place.start().await?;
    server.apply(&json!({ "policy": format!("{}{NEEDS_A_YES}", scenario::policies(scenario::POLICIES)) }))?;
    let cookie = cookies.first().context("nobody is signed in")?;
    let (address, process) = (world.scenario.address, server.process);
    let each = |requests, status| load::each(address, (requests, status), 64, process);

    let asks = world.scenario.client_credentials_of(&clients, bulk::SECRET);
    let (outcome, asked) = each(asks.to_vec(), 400).await?;
    report.add_load("people", "request for a yes", &outcome);
    let paths = asked.iter().map(|answer| {
        let uri = field(answer, "approval_uri")?;
        Ok(uri.replace(world.scenario.base(), ""))
    });
    let paths = paths.collect::<Result<Vec<String>>>()?;
    let visits = paths
        .iter()
        .map(|path| with_cookie(http::read(address, path), cookie));
    let (outcome, pages) = each(visits.collect(), 200).await?;
    report.add_load("people", "page of a request", &outcome);
    let answers = paths.iter().zip(&pages).map(|(path, page)| {
        let (csrf, record) = (hidden(page, "csrf")?, hidden(page, "record")?);
        let fields = [
            ("csrf", csrf.as_str()),
            ("answer", "approve"),
            ("record", &record),
        ];
        Ok(with_cookie(http::form(address, path, &fields), cookie))
    });
    let (outcome, _) = each(answers.collect::<Result<_>>()?, 303).await?;
    report.add_load("people", "a person's yes", &outcome);
    let uses = asked.iter().zip(&clients).map(|(answer, client)| {
        let fields = [
            ("grant_type", "urn:openid:params:grant-type:ciba"),
            ("auth_req_id", &*field(answer, "auth_req_id")?),
            ("client_id", client),
            ("client_secret", bulk::SECRET),
        ];
        Ok(http::form(address, "/token", &fields))
    });
    let (outcome, _) = each(uses.collect::<Result<_>>()?, 200).await?;
    report.add_load("people", "redemption of a yes", &outcome);
    server.stop()
}

fn code(answer: &Answer) -> Result<String> {
    let location = answer.header("location").context("no Location")?;
    let query = location.split_once('?').map_or("", |(_, query)| query);
    let code = query.split('&').find_map(|pair| pair.strip_prefix("code="));
    Ok(code.with_context(|| format!("no code: {location}"))?.to_owned())
}

fn field(answer: &Answer, name: &str) -> Result<String> {
    let body: Value = serde_json::from_slice(&answer.body)?;
    let text = body.get(name).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no `{name}`: {body}"))?.to_owned())
}

/// The value of a hidden field of a page.
fn hidden(answer: &Answer, name: &str) -> Result<String> {
    let page = String::from_utf8_lossy(&answer.body);
    let mark = format!("name=\"{name}\" value=\"");
    let rest = page.split_once(&mark).map(|(_, rest)| rest);
    let value = rest.and_then(|rest| rest.split('"').next());
    Ok(value.with_context(|| format!("no field `{name}`"))?.to_owned())
}

fn names() -> Vec<String> {
    (0..PEOPLE).map(|number| format!("someone-{number}")).collect()
}

fn document(key: &Value) -> Value {
    let person = |name: &String| json!({ "name": name, "issuer": "company", "subject": name, "roles": ["editor", "administrator"] });
    let grant = |name: &String| json!({ "agent": "assistant", "principal": { "user": name }, "resource": "notes", "scopes": ["read"] });
    json!({
        "users": names().iter().map(person).collect::<Vec<_>>(),
        "agents": [{ "name": "assistant", "owner": "group:lab", "ceiling": { "notes": ["read", "write"] } }],
        "clients": [
            // A public client: its refresh tokens rotate.
            { "name": "assistant-app", "agent": "assistant", "method": "none", "redirect_uris": [CALLBACK] },
            { "name": "assistant-key", "agent": "assistant", "method": "private_key_jwt", "jwks": { "keys": [key] } },
        ],
        "grants": names().iter().map(grant).chain([
            json!({ "agent": "assistant", "principal": "itself", "resource": "notes", "scopes": ["read"] }),
        ]).collect::<Vec<_>>(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure")]
const fn as_figure(count: u64) -> f64 {
    count as f64
}

const PEOPLE: usize = 64;
const CALLBACK: &str = "https://assistant.example/callback";
const VERIFIER: &str = "a-verifier-of-the-benchmark-and-of-nothing-else-at-all";
const NEEDS_A_YES: &str = r#"
@id("reading-needs-a-yes")
forbid (principal is Agent, action == Action::"issue_token", resource == Scope::"notes:read")
unless { context has approval && context.approval.count >= 1 };
@id("someone-answers")
permit (principal == User::"someone-0", action in [Action::"approve", Action::"reject"], resource is Approval);
"#;
