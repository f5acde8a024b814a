//! Alice connects an account elsewhere once; an agent uses it while she is away, and she takes it back there.

use super::people::sign_in;
use super::story::{ACCESS_TOKEN, EXCHANGE, ID_TOKEN, say, title};
use super::world::DemoWorld;
use crate::print::field;
use crate::sample::browser::Browser;
use crate::sample::client::get;
use anyhow::{Context as _, ensure};
use http::StatusCode;
use serde_json::Value;

/// Connect, a call in the background, revocation at the provider.
///
/// # Errors
/// Anything that comes out otherwise.
pub(super) async fn read_while_she_is_away(world: &DemoWorld, alice_token: &str) -> anyhow::Result<()> {
    title(
        "11. Alice connects her drive once; the planner reads there while she is away, and sees no token of it",
    );
    let form = [
        EXCHANGE,
        ID_TOKEN,
        ("subject_token", alice_token),
        ("scope", "drive:read"),
    ];
    let answer = world.token("planner", &form).await?.given();
    let planner = field(
        &answer.context("the planner gets a token for Alice")?,
        &["access_token"],
    );

    let (status, told) = read_plans(world, &planner).await?;
    ensure!(
        status == StatusCode::FORBIDDEN && told.contains("account_not_connected"),
        "nobody has connected, and the answer is {status}: {told}"
    );
    let page = link(&told)?;
    say(&format!(
        "the planner calls the drive for Alice and is told where to send her: {page}"
    ));

    let mut alice = Browser::open()?;
    connect(world, &mut alice, &page).await?;
    say(
        "she sees agent, provider and scopes, says \u{201c}until I take it back\u{201d}, agrees at the drive, and closes her browser",
    );
    drop(alice);

    let (status, plans) = read_plans(world, &planner).await?;
    ensure!(status == StatusCode::OK, "the drive answers {status}: {plans}");
    say(&format!("the same call again, with nobody there: {plans}"));

    let mut alice = Browser::open()?;
    alice.visit(&format!("{}/me/agents", world.base)).await?;
    sign_in(world, &mut alice, "alice").await?;
    let form = alice.form(DISCONNECT)?;
    alice.press(&form, DISCONNECT).await?;
    let left = world.around.drive.tokens_in_force();
    ensure!(left == 0, "{left} tokens are still good at the drive");
    let (status, _) = read_plans(world, &planner).await?;
    ensure!(
        status == StatusCode::FORBIDDEN,
        "the planner still reads: {status}"
    );
    say(
        "another day she disconnects it: revoked at the drive, deleted here, and the planner's next call is refused",
    );
    Ok(())
}

/// Alice goes through our page and the drive's.
async fn connect(world: &DemoWorld, alice: &mut Browser, page: &str) -> anyhow::Result<()> {
    alice.visit(page).await?;
    sign_in(world, alice, "alice").await?;
    let words = alice.words();
    for shown in ["planner", "drive", "files.read"] {
        ensure!(words.contains(shown), "the page does not say `{shown}`: {words}");
    }
    let mut form = alice.form("Allow and connect")?;
    form.choose("lasts", "always")?;
    alice.press(&form, "Allow and connect").await?;
    let at = alice.address().to_string();
    ensure!(
        at.starts_with(world.around.drive.base()),
        "the browser was sent to {at}: {}",
        alice.words()
    );
    let form = alice.form("Let it read")?;
    alice.press(&form, "Let it read").await?;
    let is_done = alice.status() == StatusCode::OK && alice.words().contains("alice.ansah");
    ensure!(is_done, "she came back to {}: {}", alice.address(), alice.words());
    Ok(())
}

/// What the planner gets at Alice's drive, through the broker.
async fn read_plans(world: &DemoWorld, planner: &str) -> anyhow::Result<(StatusCode, String)> {
    let form = [
        EXCHANGE,
        ACCESS_TOKEN,
        ("subject_token", planner),
        ("audience", "drive"),
        ("scope", "read"),
    ];
    let answer = world.token("planner", &form).await?.given();
    let token = field(
        &answer.context("the planner gets a token for the drive")?,
        &["access_token"],
    );
    get(&format!("{}/broker/drive/plans.txt", world.base), &token).await
}

/// The page that an answer of the broker names.
fn link(told: &str) -> anyhow::Result<String> {
    let problem: Value = serde_json::from_str(told)?;
    let hint = field(&problem, &["hint"]);
    let page = hint
        .split_whitespace()
        .last()
        .filter(|word| word.starts_with("http"));
    Ok(page.context("the answer has no link")?.to_owned())
}

const DISCONNECT: &str = "Disconnect your account at drive";
