//! The story: each step says what happens, does it over HTTP, and fails if it comes out otherwise.

use super::world::DemoWorld;
use super::{drive, opening, people};
use crate::print::{self, Output, field};
use crate::sample::client::{CallError, call_tool};
use crate::sample::identity_provider::Person;
use crate::{audit, kill, why};
use anyhow::{Context as _, anyhow, bail, ensure};
use hyper::Method;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const EXCHANGE: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
pub(super) const ID_TOKEN: (&str, &str) = ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token");
pub(super) const ACCESS_TOKEN: (&str, &str) = (
    "subject_token_type",
    "urn:ietf:params:oauth:token-type:access_token",
);

/// Plays the whole story.
///
/// # Errors
/// The first step that deviates.
pub(crate) async fn tell(world: &DemoWorld) -> anyhow::Result<()> {
    opening::with_the_key(world).await?;
    set_the_scene(world).await?;
    opening::without_the_key(world).await?;
    agent_proves_itself(world).await?;
    refused_with_reason(world).await?;
    let alice = sign_in(world)?;
    let planner = exchange_for_alice(world, &alice).await?;
    let (handover, summariser) = delegate(world, &alice).await?;
    stolen_token_fails(world, &planner).await?;
    let clerk = people::let_a_clerk_in(world).await?;
    people::pay_with_a_yes(world, clerk).await?;
    drive::read_while_she_is_away(world, &alice).await?;
    kill_planner(world, (&alice, &handover, &summariser)).await?;
    read_the_log(world).await?;
    five_sentences(world).await?;
    print::line("\nEvery step came out as told.");
    Ok(())
}

async fn set_the_scene(world: &DemoWorld) -> anyhow::Result<()> {
    title("2. One file says who may do what");
    let steps = world.apply().await.context("the file is applied")?;
    let count = steps.get("steps").and_then(Value::as_array).map_or(0, Vec::len);
    say(&format!(
        "applied {count} entries: 2 trusted issuers, 3 resources, 2 connections, 4 agents, their pods or clients, 6 grants"
    ));
    say(
        "the desk's key is with Chancery now, sealed; two rules of policy: refunds up to 100, payments with a yes",
    );
    say("no agent has a secret: three are proved by the signed token of the cluster that runs them");
    Ok(())
}

async fn agent_proves_itself(world: &DemoWorld) -> anyhow::Result<()> {
    title("4. The planner proves what it is and gets a token for itself");
    let notes = world.around.notes.url();
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", notes.as_str()),
        ("scope", "read"),
    ];
    let answer = world
        .token("planner", &form)
        .await?
        .given()
        .context("the planner gets a token")?;
    say(&format!(
        "proof: its pod's token; given: scope `{}` for {} seconds",
        field(&answer, &["scope"]),
        field(&answer, &["expires_in"])
    ));
    let text = call(
        &notes,
        &field(&answer, &["access_token"]),
        "list_notes",
        Value::Null,
    )
    .await?;
    say(&format!(
        "the notes server verified it by itself and answered: {text}"
    ));
    Ok(())
}

async fn refused_with_reason(world: &DemoWorld) -> anyhow::Result<()> {
    title("5. A scope that it may not have is refused, and the refusal explains itself");
    let notes = world.around.notes.url();
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", notes.as_str()),
        ("scope", "read delete"),
    ];
    let refused = world.token("planner", &form).await?.refused()?;
    ensure!(
        refused.code == "invalid_scope",
        "expected invalid_scope, got {}",
        refused.code
    );
    let decision = field(&refused.body, &["decision"]);
    say(&format!(
        "{}: {}",
        refused.code,
        field(&refused.body, &["error_description"])
    ));
    say(&format!("chancery why {decision}"));
    let explained = world.admin.read(&format!("/why/{decision}")).await?;
    let text = why::text(&explained);
    ensure!(text.contains("notes:delete"), "the table names the scope");
    for line in text.lines() {
        say(&format!("  {line}"));
    }
    Ok(())
}

fn sign_in(world: &DemoWorld) -> anyhow::Result<String> {
    let alice = Person::find("alice").ok_or_else(|| anyhow!("nobody is called alice"))?;
    world
        .around
        .identity_provider
        .id_token(alice, &world.base, Duration::from_mins(10))
}

async fn exchange_for_alice(world: &DemoWorld, alice: &str) -> anyhow::Result<String> {
    title("6. Alice signs in; the planner acts for her, as itself");
    let notes = world.around.notes.url();
    let form = [
        EXCHANGE,
        ID_TOKEN,
        ("subject_token", alice),
        ("resource", &notes),
        ("scope", "read write"),
    ];
    let answer = world
        .token("planner", &form)
        .await?
        .given()
        .context("the planner exchanges Alice's token")?;
    let token = field(&answer, &["access_token"]);
    say(&format!(
        "subject: Alice; actor: the planner; scope `{}`",
        field(&answer, &["scope"])
    ));
    let text = call(&notes, &token, "add_note", json!({ "text": "call the printer" })).await?;
    say(&format!("the notes server: {text}"));
    Ok(token)
}

/// The planner hands Alice's authority on, narrowed; the summariser can neither widen it nor restart the chain.
async fn delegate(world: &DemoWorld, alice: &str) -> anyhow::Result<(String, String)> {
    title("7. The planner hands it on to the summariser, narrowed to reading");
    let notes = world.around.notes.url();
    let form = [
        EXCHANGE,
        ID_TOKEN,
        ("subject_token", alice),
        ("audience", "agent:summariser"),
        ("scope", "notes:read"),
    ];
    let handover = world
        .token("planner", &form)
        .await?
        .given()
        .context("the planner makes a token to hand over")?;
    let handover = field(&handover, &["access_token"]);
    let form = [
        EXCHANGE,
        ACCESS_TOKEN,
        ("subject_token", &handover),
        ("resource", &notes),
        ("scope", "read"),
    ];
    let answer = world
        .token("summariser", &form)
        .await?
        .given()
        .context("the summariser exchanges it")?;
    let token = field(&answer, &["access_token"]);
    let text = call(&notes, &token, "list_notes", Value::Null).await?;
    say(&format!("the summariser reads: {text}"));

    cannot_widen_or_restart(world, alice, &handover).await?;
    Ok((handover, token))
}

async fn cannot_widen_or_restart(world: &DemoWorld, alice: &str, handover: &str) -> anyhow::Result<()> {
    let notes = world.around.notes.url();
    let form = [
        EXCHANGE,
        ACCESS_TOKEN,
        ("subject_token", handover),
        ("resource", &notes),
        ("scope", "read write"),
    ];
    let refused = world.token("summariser", &form).await?.refused()?;
    ensure!(
        refused.code == "invalid_scope",
        "widening: expected invalid_scope, got {}",
        refused.code
    );
    say("it asks for `write`, which was not handed on: refused (invalid_scope)");

    let form = [
        EXCHANGE,
        ID_TOKEN,
        ("subject_token", alice),
        ("resource", &notes),
        ("scope", "read"),
    ];
    let refused = world.token("summariser", &form).await?.refused()?;
    ensure!(
        refused.code == "consent_required",
        "restarting: expected consent_required, got {}",
        refused.code
    );
    say(
        "it tries to start again from Alice's own token, without the planner in the chain: refused (consent_required)",
    );
    Ok(())
}

async fn stolen_token_fails(world: &DemoWorld, planner: &str) -> anyhow::Result<()> {
    title("8. A stolen token is worth little");
    let form = [
        EXCHANGE,
        ACCESS_TOKEN,
        ("subject_token", planner),
        ("audience", "notes"),
        ("scope", "read"),
    ];
    let refused = world.token("summariser", &form).await?.refused()?;
    ensure!(
        refused.code == "invalid_request",
        "laundering: expected invalid_request, got {}",
        refused.code
    );
    say("another agent presents the planner's token to get one of its own: refused (invalid_request)");
    let foreign = world
        .token("planner", &[("grant_type", "client_credentials")])
        .await?
        .given()?;
    let foreign = field(&foreign, &["access_token"]);
    match call_tool(
        &world.around.notes.url(),
        Some(&foreign),
        "list_notes",
        Value::Null,
    )
    .await
    {
        Err(CallError::Unauthorized { challenge }) => {
            say(&format!(
                "a token made for another audience, at the notes server: 401 {}",
                short(&challenge)
            ));
            Ok(())
        }
        Err(error) => bail!("expected 401, got {error}"),
        Ok(_) => bail!("a token for another audience was accepted"),
    }
}

async fn kill_planner(
    world: &DemoWorld,
    (alice, handover, summariser): (&str, &str, &str),
) -> anyhow::Result<()> {
    title("12. One switch stops the planner and everything that came from it");
    ensure!(
        introspect(world, summariser).await?,
        "the summariser's token is in force before"
    );
    let started = tokio::time::Instant::now();
    let report = world
        .admin
        .send(Method::POST, "/kill/agent/planner", &json!({}))
        .await?;
    let notes = world.around.notes.url();
    let form = [
        EXCHANGE,
        ID_TOKEN,
        ("subject_token", alice),
        ("resource", &notes),
        ("scope", "read"),
    ];
    let refused = world.token("planner", &form).await?.refused()?;
    ensure!(
        refused.code == "invalid_client",
        "after the kill: expected invalid_client, got {}",
        refused.code
    );
    let form = [
        EXCHANGE,
        ACCESS_TOKEN,
        ("subject_token", handover),
        ("resource", &notes),
        ("scope", "read"),
    ];
    let refused = world.token("summariser", &form).await?.refused()?;
    ensure!(
        refused.code == "invalid_request",
        "after the kill: expected invalid_request, got {}",
        refused.code
    );
    ensure!(
        !introspect(world, summariser).await?,
        "the summariser's token is dead"
    );
    let elapsed = started.elapsed();
    kill::show(&report);
    say(&format!(
        "both refused {} ms after the switch was thrown",
        elapsed.as_millis()
    ));
    Ok(())
}

async fn introspect(world: &DemoWorld, token: &str) -> anyhow::Result<bool> {
    let proof = world.runtime_token("summariser")?;
    let form = [
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", proof.as_str()),
        ("token", token),
    ];
    let answer = world.public.form("/introspect", &form).await?;
    answer
        .get("active")
        .and_then(Value::as_bool)
        .ok_or_else(|| anyhow!("introspection did not answer `active`"))
}

async fn read_the_log(world: &DemoWorld) -> anyhow::Result<()> {
    title("13. The log tells it all, and nobody can rewrite it unnoticed");
    let log = wait_until_integrated(world).await?;
    let key = field(&log, &["verifier_key"]);
    let export = world.admin.bytes("/api/v1/audit/export").await?;
    let good = world.path("log.jsonl");
    std::fs::write(&good, &export)?;
    let kept = world.path("checkpoints");
    say("chancery audit verify log.jsonl --key … --checkpoints checkpoints");
    audit::verify(&good, &key, std::slice::from_ref(&kept), Output { json: false })?;

    let text = String::from_utf8(export.to_vec())?;
    ensure!(
        !text.contains(world.around.desk.key()),
        "the desk's key is in the log"
    );
    let tampered = text.replacen("planner", "plannes", 1);
    ensure!(tampered != text, "there is something to tamper with");
    let bad = world.path("tampered.jsonl");
    std::fs::write(&bad, tampered)?;
    say("one letter changed in a copy:");
    match audit::verify(&bad, &key, &[kept], Output { json: false }) {
        Err(error) => say(&error.to_string()),
        Ok(()) => bail!("a tampered copy verified"),
    }
    Ok(())
}

/// The end of the story, in the log's own words.
async fn five_sentences(world: &DemoWorld) -> anyhow::Result<()> {
    print::line("\nFrom the log, in five sentences:");
    for (kind, words) in SENTENCES {
        let page = world
            .admin
            .read(&format!("/audit/events?limit=100&kind={kind}"))
            .await?;
        let items = page.get("items").and_then(Value::as_array);
        let mut sentences = items.into_iter().flatten().map(|item| field(item, &["sentence"]));
        let sentence = sentences.find(|sentence| sentence.contains(words));
        say(&sentence.with_context(|| format!("the log does not say `{words}`"))?);
    }
    Ok(())
}

/// Waits until everything recorded so far is in the tree.
async fn wait_until_integrated(world: &DemoWorld) -> anyhow::Result<Value> {
    for _ in 0..100 {
        let newest = world.admin.read("/audit/events?limit=1").await?;
        let newest = newest
            .get("items")
            .and_then(|items| items.get(0))
            .cloned()
            .unwrap_or_default();
        if newest.get("position").is_some_and(Value::is_number) {
            return world.admin.read("/audit/log").await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the log was not integrated within ten seconds")
}

async fn call(url: &str, token: &str, tool: &str, arguments: Value) -> anyhow::Result<String> {
    let answer = call_tool(url, Some(token), tool, arguments)
        .await
        .with_context(|| format!("the call of {tool}"))?;
    ensure!(!answer.is_error, "{tool} answered an error: {}", answer.text);
    Ok(answer.text)
}

/// Begins a step.
pub(super) fn title(text: &str) {
    print::line(&format!("\n{text}"));
}

/// Says one line of a step.
pub(super) fn say(text: &str) {
    print::line(&format!("   {text}"));
}

fn short(challenge: &str) -> &str {
    challenge.split(',').next().unwrap_or(challenge)
}

/// What the story ends with: kinds of events, and words of their sentences.
const SENTENCES: [(&str, &str); 5] = [
    ("call.decided", "refused to call tool export_customers"),
    ("call.decided", "refused to call tool refund"),
    ("call.decided", "permitted to call tool refund"),
    ("token.issued", "agent summariser was given a token for notes"),
    ("agent.killed", "planner"),
];
