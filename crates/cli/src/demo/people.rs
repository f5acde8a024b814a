//! Where people come in: Alice lets an application in from her browser, and Bob says yes to a payment that she wants.
//! Their browsers follow redirects and fill in the forms of the pages, as they are, over HTTP.

use super::story::{say, title};
use super::world::DemoWorld;
use crate::print::field;
use crate::sample::application::Application;
use crate::sample::browser::Browser;
use crate::sample::client::{ToolAnswer, call_tool};
use crate::sample::identity_provider::Person;
use anyhow::{Context as _, ensure};
use http::StatusCode;
use serde_json::json;

/// What the clerk has after Alice let it in.
pub(super) struct Clerk {
    token: String,
    alice: Browser,
}

/// Alice signs in at her company, and grants two of the three scopes that an application asks for.
///
/// # Errors
/// Anything that comes out otherwise.
pub(super) async fn let_a_clerk_in(world: &DemoWorld) -> anyhow::Result<Clerk> {
    title(
        "9. Alice signs in in her browser, and lets an application have two of the three things it asks for",
    );
    let desk = world.desk_behind_gateway();
    let application = Application::start(&world.base, &world.clerk_client().await?, &desk).await?;
    let question = application.question("read refund pay")?;
    say("the clerk, an application without any proof of its own, asks for `read refund pay` at the desk");

    let mut alice = Browser::open()?;
    alice.visit(&question).await?;
    sign_in(world, &mut alice, "alice").await?;
    say("Alice's browser is sent to her company; she signs in there and comes back");
    let mut form = alice.form("Allow")?;
    ensure!(
        form.values("scope") == ["desk:pay", "desk:read", "desk:refund"],
        "the page offers {:?}",
        form.values("scope")
    );
    let words = alice.words();
    for shown in ["clerk", "group:support", "pay suppliers", "refund money"] {
        ensure!(words.contains(shown), "the page does not say `{shown}`: {words}");
    }
    form.untick("scope", "desk:refund")?;
    alice.press(&form, "Allow").await?;
    say(
        "the page names the agent, who answers for it and each thing in words; she takes `refund` away and allows a day",
    );

    let answer = application.redeem().await?;
    let scope = field(&answer, &["scope"]);
    ensure!(scope == "pay read", "the clerk was given `{scope}`");
    say(&format!("its code is redeemed, with PKCE, once: scope `{scope}`"));
    Ok(Clerk {
        token: field(&answer, &["access_token"]),
        alice,
    })
}

/// A payment waits for another person's yes, runs once, and the yes is used up.
///
/// # Errors
/// Anything that comes out otherwise.
pub(super) async fn pay_with_a_yes(world: &DemoWorld, clerk: Clerk) -> anyhow::Result<()> {
    title("10. A payment needs another person's yes, and runs once");
    let Clerk { token, mut alice } = clerk;
    let (page, number) = asks(&pay(world, &token).await?)?;
    ensure!(
        world.around.desk.take_payments().is_empty(),
        "it was paid at once"
    );
    say(&format!(
        "the clerk pays 300 euros to the printer: it must wait, and shows Alice the number {number}"
    ));

    alice.visit(&page).await?;
    ensure!(
        alice.form("Approve once").is_err(),
        "Alice could approve it herself"
    );
    say("Alice asked for it, so her page has no button to approve it");

    let mut bob = Browser::open()?;
    bob.visit(&page).await?;
    sign_in(world, &mut bob, "bob").await?;
    ensure!(
        bob.words().contains("300"),
        "Bob does not see the amount: {}",
        bob.words()
    );
    let mut form = bob.form("Approve once")?;
    let choices = form.values("number").join(", ");
    form.choose("number", &number)?;
    bob.press(&form, "Approve once").await?;
    ensure!(
        bob.status() == StatusCode::OK,
        "Bob's yes is refused: {}",
        bob.words()
    );
    say(&format!(
        "Bob, of the desk's owners, sees every argument; of {choices} he picks the number that Alice reads to him"
    ));

    let paid = pay(world, &token).await?;
    ensure!(!paid.is_error, "the payment failed: {}", paid.text);
    say(&format!("the same call again: {}", paid.text));
    let (again, _) = asks(&pay(world, &token).await?)?;
    ensure!(again != page, "the used request is open again");
    let payments = world.around.desk.take_payments();
    ensure!(
        payments == ["300 euros to the printer"],
        "the desk paid {}",
        payments.join(" and ")
    );
    say("and once more: a yes is good for one payment, so it must wait for another one. The desk paid once");
    Ok(())
}

/// Chooses a person at the company's page, where the browser was sent, and is back at Chancery.
pub(super) async fn sign_in(world: &DemoWorld, browser: &mut Browser, user: &str) -> anyhow::Result<()> {
    let company = world.around.identity_provider.issuer();
    let at = browser.address().to_string();
    ensure!(at.starts_with(company), "the browser was sent to {at}");
    let person = Person::find(user).context("nobody has this name")?;
    let form = browser.form(person.name)?;
    browser.press(&form, person.name).await?;
    let at = browser.address().to_string();
    let is_back = at.starts_with(&world.base) && browser.status() == StatusCode::OK;
    ensure!(
        is_back,
        "after signing in the browser is at {at}: {}",
        browser.words()
    );
    Ok(())
}

async fn pay(world: &DemoWorld, token: &str) -> anyhow::Result<ToolAnswer> {
    let arguments = json!({ "to": "the printer", "amount": 300 });
    let answer = call_tool(&world.desk_behind_gateway(), Some(token), "pay", arguments).await;
    answer.context("the call of pay")
}

/// The page where a yes is given, and the number to choose there.
fn asks(answer: &ToolAnswer) -> anyhow::Result<(String, String)> {
    let text = &answer.text;
    let waits = || format!("expected to wait for a yes: {text}");
    ensure!(answer.is_error, waits());
    let page = text
        .split_whitespace()
        .last()
        .filter(|word| word.starts_with("http"));
    let number = text.split_once("choose the number ").and_then(|(_, rest)| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit());
        rest.split_at_checked(end.unwrap_or(rest.len()))
    });
    let (page, (number, _)) = page.zip(number).with_context(waits)?;
    Ok((page.to_owned(), number.to_owned()))
}
