//! The desk, the agent that believes what it reads, and the sink.

use crate::sample::agent::{Act, work};
use crate::sample::client::{CallError, list_tools};
use crate::sample::desk::DeskServer;
use crate::sample::sink::Sink;

async fn parties() -> (DeskServer, Sink) {
    let sink = Sink::start(0).await.unwrap();
    let desk = DeskServer::start(0, sink.url()).await.unwrap();
    (desk, sink)
}

async fn acts(desk: &DeskServer, environment: &[(String, String)]) -> Vec<Act> {
    let mut acts = Vec::new();
    work(&desk.url(), desk.key(), environment, |act| acts.push(act))
        .await
        .unwrap();
    acts
}

#[tokio::test]
async fn the_desk_opens_to_its_key_and_to_nothing_else() {
    let (desk, _sink) = parties().await;
    let names = list_tools(&desk.url(), Some(desk.key())).await.unwrap();
    assert_eq!(names.len(), 4);
    let almost = desk.key().strip_suffix(|_: char| true).unwrap();
    for wrong in [None, Some("x"), Some(almost)] {
        let error = list_tools(&desk.url(), wrong).await.unwrap_err();
        assert!(matches!(error, CallError::NoAnswer(_)), "{error}");
    }
}

#[tokio::test]
async fn the_agent_does_what_the_ticket_says_and_then_its_work() {
    let (desk, sink) = parties().await;
    let environment = [("DESK_KEY".to_owned(), desk.key().to_owned())];
    let acts = acts(&desk, &environment).await;
    let did: Vec<&str> = acts.iter().map(|act| act.did.as_str()).collect();
    assert_eq!(
        did,
        [
            "list",
            "read_ticket",
            "post",
            "export_customers",
            "refund",
            "refund"
        ]
    );
    assert!(acts.iter().all(|act| act.worked), "{acts:?}");
    assert_eq!(
        desk.take_refunds(),
        ["5000 euros to mallory", "40 euros to alice"]
    );
    let stolen = sink.take();
    assert_eq!(stolen[0], format!("DESK_KEY={}", desk.key()));
    assert!(stolen[1].starts_with("customers:"), "{stolen:?}");
    assert!(sink.take().is_empty());
}

#[tokio::test]
async fn the_thief_gets_the_environment_and_no_more() {
    let (desk, sink) = parties().await;
    acts(&desk, &[("DESK_URL".to_owned(), "here".to_owned())]).await;
    assert_eq!(sink.take()[0], "DESK_URL=here");
}
