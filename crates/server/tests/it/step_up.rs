//! A yes that a passkey signs: who must sign, what is signed, and that the log proves it to whoever has an export and a key.

use crate::approval::{caller, poll, prepare, waits};
use crate::audit::{export, log_key};
use crate::authenticator::*;
use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use crate::local_users::{borrowed, enrolled};
use crate::passkeys::registered;
use chancery_audit::verify;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    a_yes_to_something_sensitive_is_signed_and_the_log_proves_it,
    a_policy_asks_for_a_passkey,
    whoever_has_no_passkey_says_yes_to_what_policy_does_not_ask_it_for,
    what_was_signed_for_one_record_is_nothing_for_another,
    what_is_not_the_persons_own_verified_signature_is_no_yes,
    a_no_needs_no_passkey,
);

const DELETING: &str = r#"@id("deleting-needs-a-yes")
forbid (principal is Agent, action == Action::"issue_token", resource == Scope::"notes:delete")
unless { context has approval };"#;
const SIGNED_WRITING: &str = r#"@id("writing-needs-a-signed-yes")
forbid (principal is Agent, action == Action::"issue_token", resource == Scope::"notes:write")
unless { context has approval && context.approval.methods.contains("passkey") };"#;

/// An estate with a local administrator who is signed in.
async fn world(place: &Place, policy: &str) -> (Estate, Browser) {
    let estate = Estate::start(place).await;
    prepare(&estate, policy).await;
    let olga = enrolled(&estate.node, "olga", &["administrator"]).await;
    (estate, olga)
}

/// The planner asks for a scope for Alice, who may delete.
async fn ask(estate: &Estate, scope: &str) -> (String, String) {
    let alice = estate.user("alice", &["staff", "manager"]);
    let asked = [("resource", NOTES), ("scope", scope)];
    waits(&estate.exchange_as("planner", (&alice, JWT), &asked).await)
}

/// What the page of a request asks, and the form that answers.
struct Page {
    path: String,
    csrf: String,
    record: String,
    asked: Option<(Value, String)>,
}

impl Page {
    async fn open(browser: &mut Browser, id: &str) -> Self {
        let path = format!("/approvals/{id}");
        let page = browser.get(&path).await;
        let text = page.text();
        Self {
            asked: text.contains("data-passkey").then(|| asked(&text, &path)),
            csrf: csrf(&page),
            record: hidden(&text, "record"),
            path,
        }
    }

    async fn answer(&self, browser: &mut Browser, answer: &str, signed: Option<(&str, &str)>) -> Answer {
        let mut form = vec![
            ("csrf", self.csrf.clone()),
            ("answer", answer.to_owned()),
            ("record", self.record.clone()),
        ];
        if let Some((ticket, credential)) = signed {
            form.push(("ticket", ticket.to_owned()));
            form.push(("credential", credential.to_owned()));
        }
        browser.submit(&self.path, &borrowed(&form)).await
    }

    async fn sign(&self, browser: &mut Browser, passkey: &mut Authenticator) -> Answer {
        let (options, ticket) = self.asked.as_ref().unwrap();
        let credential = passkey.get(options);
        self.answer(browser, "approve", Some((ticket, &credential))).await
    }
}

async fn a_yes_to_something_sensitive_is_signed_and_the_log_proves_it(place: Place) {
    let (estate, mut olga) = world(&place, DELETING).await;
    let mut passkey = Authenticator::new(1);
    assert_eq!(registered(&mut olga, &mut passkey).await.status, 303);
    let (handle, id) = ask(&estate, "delete").await;
    let page = Page::open(&mut olga, &id).await;
    let unsigned = page.answer(&mut olga, "approve", None).await;
    assert_eq!(unsigned.status, 422, "{}", unsigned.text());
    assert_eq!(
        poll(&estate, "planner", &handle).await.error().1,
        "authorization_pending"
    );
    assert_eq!(page.sign(&mut olga, &mut passkey).await.status, 303);
    estate.node.advance(Ttl::from_seconds(6)).await;
    assert_eq!(poll(&estate, "planner", &handle).await.scope(), "delete");

    let given = &estate.events("approval.given").await[0];
    assert_eq!(given["parts"]["answer"]["methods"], json!(["page", "passkey"]));
    estate.node.integrate().await;
    let key = log_key(&estate).await;
    let report = verify(export(&estate).await, vec![key], &[]).unwrap();
    assert_eq!((report.assertions, report.assertions_unanchored), (1, 0));
}

async fn a_policy_asks_for_a_passkey(place: Place) {
    let (estate, mut olga) = world(&place, SIGNED_WRITING).await;
    let (handle, id) = ask(&estate, "write").await;
    let shown = olga.get(&format!("/approvals/{id}")).await.text();
    assert!(
        shown.contains("you have none") && !shown.contains("Approve once"),
        "{shown}"
    );
    let by_interface = crate::approval::approve(&estate, "carol", &id).await;
    assert!(by_interface.is_err(), "carol has no passkey");
    let mut passkey = Authenticator::new(1);
    assert_eq!(registered(&mut olga, &mut passkey).await.status, 303);
    let page = Page::open(&mut olga, &id).await;
    assert_eq!(page.sign(&mut olga, &mut passkey).await.status, 303);
    assert_eq!(poll(&estate, "planner", &handle).await.scope(), "write");
}

async fn whoever_has_no_passkey_says_yes_to_what_policy_does_not_ask_it_for(place: Place) {
    let (estate, mut olga) = world(&place, DELETING).await;
    let (handle, id) = ask(&estate, "delete").await;
    let page = Page::open(&mut olga, &id).await;
    assert!(page.asked.is_none());
    assert_eq!(page.answer(&mut olga, "approve", None).await.status, 303);
    assert_eq!(poll(&estate, "planner", &handle).await.scope(), "delete");
    estate.node.integrate().await;
    let report = verify(export(&estate).await, vec![log_key(&estate).await], &[]).unwrap();
    assert_eq!(report.assertions, 0);
}

async fn what_was_signed_for_one_record_is_nothing_for_another(place: Place) {
    let (estate, mut olga) = world(&place, DELETING).await;
    let mut passkey = Authenticator::new(1);
    registered(&mut olga, &mut passkey).await;
    let (_, first) = ask(&estate, "delete").await;
    let (_, second) = ask(&estate, "read delete").await;
    let (first, second) = (
        Page::open(&mut olga, &first).await,
        Page::open(&mut olga, &second).await,
    );
    let (options, ticket) = first.asked.clone().unwrap();
    let (_, own_ticket) = second.asked.clone().unwrap();
    let credential = passkey.get(&options);
    for ticket in [&ticket, &own_ticket] {
        let answer = second
            .answer(&mut olga, "approve", Some((ticket, &credential)))
            .await;
        assert_eq!(answer.status, 422, "{}", answer.text());
    }
    // Nor is it for the same record in another session, or later.
    let mut elsewhere = Browser::at(&estate.node);
    crate::local_users::typed(&mut elsewhere, "olga", crate::local_users::PASSWORD).await;
    let there = Page::open(&mut elsewhere, first.path.rsplit('/').next().unwrap()).await;
    let answer = there
        .answer(&mut elsewhere, "approve", Some((&ticket, &credential)))
        .await;
    assert_eq!(answer.status, 422);
    estate.node.advance(Ttl::from_minutes(5)).await;
    let answer = first
        .answer(&mut olga, "approve", Some((&ticket, &credential)))
        .await;
    assert_eq!(answer.status, 422, "the challenge is over");
    let first = Page::open(&mut olga, first.path.rsplit('/').next().unwrap()).await;
    assert_eq!(first.sign(&mut olga, &mut passkey).await.status, 303);
    assert_eq!(
        first.sign(&mut olga, &mut passkey).await.status,
        409,
        "it was answered"
    );
}

async fn what_is_not_the_persons_own_verified_signature_is_no_yes(place: Place) {
    let (estate, mut olga) = world(&place, DELETING).await;
    let mut passkey = Authenticator::new(1);
    registered(&mut olga, &mut passkey).await;
    let mut bea = enrolled(&estate.node, "bea", &["administrator"]).await;
    let mut other = Authenticator::new(2);
    registered(&mut bea, &mut other).await;
    let (handle, id) = ask(&estate, "delete").await;
    let page = Page::open(&mut olga, &id).await;
    let others = page.sign(&mut olga, &mut other).await;
    assert_eq!(others.status, 422, "another person's");
    passkey.flags = PRESENT;
    let unverified = page.sign(&mut olga, &mut passkey).await;
    assert_eq!(unverified.status, 422, "not verified");
    passkey.flags = PRESENT | VERIFIED;
    "https://evil.example".clone_into(&mut passkey.origin);
    assert_eq!(
        page.sign(&mut olga, &mut passkey).await.status,
        422,
        "another origin"
    );
    BASE.clone_into(&mut passkey.origin);
    "evil.example".clone_into(&mut passkey.relying_party);
    assert_eq!(
        page.sign(&mut olga, &mut passkey).await.status,
        422,
        "another relying party"
    );
    "id.example".clone_into(&mut passkey.relying_party);
    let mut forged = Authenticator::new(1);
    assert_eq!(page.sign(&mut olga, &mut forged).await.status, 422, "another key");
    let (options, ticket) = page.asked.clone().unwrap();
    for junk in ["", "{}", "\0", "AAAA"] {
        let credential = passkey.get(&options);
        for signed in [(ticket.as_str(), junk), (junk, credential.as_str())] {
            let answer = page.answer(&mut olga, "approve", Some(signed)).await;
            assert_eq!(answer.status, 422);
        }
    }
    assert_eq!(
        poll(&estate, "planner", &handle).await.error().1,
        "authorization_pending"
    );
    assert_eq!(page.sign(&mut olga, &mut passkey).await.status, 303);
    let approver = caller(&estate, "olga").await.actor.to_string();
    let given = &estate.events("approval.given").await[0];
    assert!(given["ids"].to_string().contains(&approver), "{given}");
}

async fn a_no_needs_no_passkey(place: Place) {
    let (estate, mut olga) = world(&place, DELETING).await;
    registered(&mut olga, &mut Authenticator::new(1)).await;
    let (handle, id) = ask(&estate, "delete").await;
    let page = Page::open(&mut olga, &id).await;
    assert_eq!(page.answer(&mut olga, "deny", None).await.status, 303);
    assert_eq!(poll(&estate, "planner", &handle).await.error().1, "access_denied");
}
