//! The opening: one program twice, with a key in its environment and without one, and what a poisoned text makes of it.

use super::agent::start;
use super::story::{say, title};
use super::world::DemoWorld;
use crate::print::{self, field};
use crate::sample::agent::Act;
use crate::why;
use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The agent as most are run today: the desk's key is in its environment.
///
/// # Errors
/// Anything that comes out otherwise.
pub(super) async fn with_the_key(world: &DemoWorld) -> anyhow::Result<()> {
    let desk = &world.around.desk;
    title("1. A support agent with an API key in its environment reads a ticket");
    let environment = [("DESK_URL", desk.url()), ("DESK_KEY", desk.key().to_owned())];
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let acts = start(&environment, None).await?;
    let ticket = find(&acts, "read_ticket", 0)?;
    for line in ticket.told.lines() {
        say(&format!("  {line}"));
    }
    say("the agent does what it reads. What the thief's server received:");
    let stolen = world.around.sink.take();
    for line in stolen.iter().flat_map(|post| post.lines()) {
        say(&format!("  {line}"));
    }
    ensure!(
        stolen.iter().any(|post| post.contains(desk.key())),
        "the key was not stolen"
    );
    ensure!(
        stolen.iter().any(|post| post.contains("customers:")),
        "the customers were not stolen"
    );
    let refunds = desk.take_refunds();
    say(&format!("and the desk refunded {}", refunds.join(" and ")));
    ensure!(
        refunds == ["5000 euros to mallory", "40 euros to alice"],
        "the desk refunded something else"
    );
    say("whoever has that key can do all this again, from anywhere, until somebody changes it");
    Ok(())
}

/// The same program behind Chancery.
///
/// # Errors
/// Anything that comes out otherwise.
pub(super) async fn without_the_key(world: &DemoWorld) -> anyhow::Result<()> {
    let desk = &world.around.desk;
    title("3. The same program reads the same ticket, through Chancery");
    let url = world.desk_behind_gateway();
    let acts = start(&[("DESK_URL", &url)], Some(&token(world).await?)).await?;
    say("its environment is one address; its pod's token got it a token for this desk alone");
    find(&acts, "read_ticket", 0)?;

    let stolen = world.around.sink.take();
    say("it still does what it reads. What the thief's server received:");
    for line in stolen.iter().flat_map(|post| post.lines()) {
        say(&format!("  {line}"));
    }
    ensure!(
        stolen == [format!("DESK_URL={url}")],
        "the thief got something else"
    );
    exporting_is_denied(world, &acts).await?;
    too_much_is_denied(world, &acts).await?;

    let refund = find(&acts, "refund", 1)?;
    ensure!(refund.worked, "the permitted refund failed: {}", refund.told);
    let refunds = desk.take_refunds();
    ensure!(
        refunds == ["40 euros to alice"],
        "the desk refunded {}",
        refunds.join(" and ")
    );
    say(&format!(
        "its real work: {}; the gateway added the key, the agent never saw it",
        refund.told
    ));
    Ok(())
}

/// A tool outside of the agent's ceiling does not exist for it; the attempt is on record with its reasons.
async fn exporting_is_denied(world: &DemoWorld, acts: &[Act]) -> anyhow::Result<()> {
    let listed = find(acts, "list", 0)?;
    ensure!(
        listed.told == "read_ticket, refund",
        "the agent sees {}",
        listed.told
    );
    let export = find(acts, "export_customers", 0)?;
    ensure!(!export.worked, "the export worked: {}", export.told);
    say(&format!("it calls export_customers: {}", export.told));
    let decision = newest_decision(world, "export_customers").await?;
    explain(world, &decision, "desk:export").await
}

/// The tool is the agent's, the amount is not.
async fn too_much_is_denied(world: &DemoWorld, acts: &[Act]) -> anyhow::Result<()> {
    let refund = find(acts, "refund", 0)?;
    ensure!(!refund.worked, "5000 euros were refunded");
    say(&format!("it refunds 5000 euros to mallory: {}", refund.told));
    let words = refund
        .told
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let decision = words.into_iter().find(|word| word.starts_with("dec_"));
    let decision = decision.context("the refusal names its decision")?;
    explain(world, decision, "refunds-up-to-100").await
}

async fn explain(world: &DemoWorld, decision: &str, names: &str) -> anyhow::Result<()> {
    say(&format!("chancery why {decision}"));
    let explained = world.admin.read(&format!("/why/{decision}")).await?;
    let text = why::text(&explained);
    ensure!(text.contains(names), "the table names `{names}`: {text}");
    for line in text.lines() {
        say(&format!("  {line}"));
    }
    Ok(())
}

/// The id of the newest decision on a call of this tool.
async fn newest_decision(world: &DemoWorld, tool: &str) -> anyhow::Result<String> {
    let page = world
        .admin
        .read("/audit/events?limit=20&kind=call.decided")
        .await?;
    let items = page.get("items").and_then(Value::as_array);
    let found = items
        .into_iter()
        .flatten()
        .find(|item| field(item, &["sentence"]).contains(tool));
    let ids = found.and_then(|item| item.get("ids")).and_then(Value::as_array);
    let decision = ids
        .into_iter()
        .flatten()
        .find(|pair| pair.get(0).and_then(Value::as_str) == Some("decision"));
    let decision = decision.and_then(|pair| pair.get(1)).and_then(Value::as_str);
    Ok(decision
        .with_context(|| format!("the log has no decision on {tool}"))?
        .to_owned())
}

/// A token for the desk, by the proof of the agent's pod.
async fn token(world: &DemoWorld) -> anyhow::Result<String> {
    let url = world.desk_behind_gateway();
    let form = [("grant_type", "client_credentials"), ("resource", url.as_str())];
    let answer = world.token("support", &form).await?.given()?;
    Ok(field(&answer, &["access_token"]))
}

/// One line that connects the reader's own MCP client.
///
/// # Errors
/// No token is given.
pub(super) async fn invite(world: &DemoWorld) -> anyhow::Result<()> {
    print::line("\nYour own MCP client, as the support agent, for an hour:");
    print::line(&format!(
        "claude mcp add --transport http desk {} --header \"Authorization: Bearer {}\"",
        world.desk_behind_gateway(),
        token(world).await?
    ));
    Ok(())
}

/// The agent's first or later act of one kind.
fn find<'a>(acts: &'a [Act], did: &str, nth: usize) -> anyhow::Result<&'a Act> {
    let mut of_kind = acts.iter().filter(|act| act.did == did);
    of_kind
        .nth(nth)
        .with_context(|| format!("the agent did not {did}"))
}
