//! Somebody who can write the database turns one person's tokens into another's: the rows say so, and the seal does not.

use crate::connect::Drive;
use crate::estate::*;
use crate::harness::*;
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    another_persons_tokens_in_ones_place_open_for_nobody,
    an_account_whose_owner_was_edited_opens_for_nobody,
    tokens_that_came_for_one_place_are_not_handed_out_for_another,
);

/// Alice and Bob have connected for the planner, at a connection that hands out.
async fn connected(place: &Place) -> Drive {
    let drive = Drive::of(place, |provider| {
        let mut connection = provider.connection("drive", &json!({}));
        connection["handling"] = json!("release");
        connection
    })
    .await;
    for person in ["alice", "bob"] {
        let mut browser = drive.signed_in(person).await;
        let subject = format!("{person}-there");
        let done = drive.connect(&mut browser, ("planner", &subject), &[]).await;
        assert_eq!(done.status, 200, "{}", done.text());
    }
    drive
}

async fn released(drive: &Drive, person: &str) -> Answer {
    let subject = drive.idp.token(&drive.estate.node, person);
    let token = drive
        .estate
        .exchange_as("planner", (&subject, JWT), &[])
        .await
        .token();
    let request = Request::post("/vault/drive")
        .header("host", "id.example")
        .header("authorization", format!("Bearer {token}"));
    drive.estate.node.send(request.body(Body::empty()).unwrap()).await
}

/// Neither used nor handed out, and the log says so.
async fn opens_for_nobody(drive: &Drive, people: &[&str]) {
    drive.provider.asked("/api/files");
    for person in people {
        for answer in [
            drive.use_by("planner", person).await,
            released(drive, person).await,
        ] {
            assert_eq!(answer.status, 500, "{person}: {}", answer.text());
            assert!(!answer.text().contains("MARKER"));
        }
    }
    assert!(drive.provider.asked("/api/files").is_empty());
    // Beside the answers.
    let ends = loop {
        let mut ends = drive.estate.events("call.ended").await;
        ends.retain(|end| end["outcome"] == "failed");
        if ends.len() == 2 * people.len() {
            break ends;
        }
        tokio::task::yield_now().await;
    };
    let faults: Vec<&Value> = ends.iter().map(|end| &end["parts"]["end"]["fault"]).collect();
    assert!(
        faults.contains(&&json!("not_handed_out")) && faults.contains(&&json!("internal")),
        "{faults:?}"
    );
}

async fn another_persons_tokens_in_ones_place_open_for_nobody(place: Place) {
    let drive = connected(&place).await;
    drive
        .edit(
            "UPDATE credentials SET sealed = (SELECT theirs.sealed FROM credentials AS theirs
               JOIN connected_accounts AS account ON account.tenant = theirs.tenant AND account.id = theirs.account
               WHERE account.spec LIKE '%id-alice-there%')
             WHERE account IN (SELECT id FROM connected_accounts WHERE spec LIKE '%id-bob-there%')",
        )
        .await;
    opens_for_nobody(&drive, &["bob"]).await;
    assert_eq!(
        drive.use_by("planner", "alice").await.text(),
        "files of alice-there"
    );
}

async fn an_account_whose_owner_was_edited_opens_for_nobody(place: Place) {
    let drive = connected(&place).await;
    // Bob's is out of the way, and Alice's is called his.
    drive
        .edit(
            "UPDATE connected_accounts SET natural_key = natural_key || '-gone', state = 'retired'
             WHERE spec LIKE '%id-bob-there%'",
        )
        .await;
    drive
        .edit(
            "UPDATE connected_accounts SET natural_key = replace(natural_key, 'alice', 'bob'),
               spec = replace(spec, 'alice', 'bob') WHERE spec LIKE '%id-alice-there%'",
        )
        .await;
    drive.estate.node.app.directory.forget_all();
    opens_for_nobody(&drive, &["bob"]).await;
}

async fn tokens_that_came_for_one_place_are_not_handed_out_for_another(place: Place) {
    let drive = connected(&place).await;
    assert_eq!(released(&drive, "alice").await.status, 200);
    let elsewhere = json!({ "base_url": "https://evil.example/api" });
    drive.estate.change("connections", "drive", elsewhere).await;
    let answer = released(&drive, "alice").await;
    assert_eq!(answer.problem(), (403, "account_not_connected".to_owned()));
}
