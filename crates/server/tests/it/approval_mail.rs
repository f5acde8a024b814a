//! E-mail about requests for a yes, taken by a relay of the tests: whom it goes to, what it says and does not, and what
//! becomes of it when the relay is down or refuses.

use crate::approval::{prepare, waits};
use crate::estate::*;
use crate::harness::*;
use crate::outside;
use chancery_core::time::Ttl;
use chancery_server::egress::MailConfig;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

on_both_engines!(
    whom_a_request_is_put_to_is_written_to_at_the_address_their_issuer_gave,
    a_list_is_written_to_of_every_request,
    whoever_has_no_address_or_has_left_is_written_to_nowhere,
    a_relay_that_is_down_delays_messages_and_loses_none,
    after_a_while_whoever_answers_for_the_agent_is_written_to,
    an_address_that_cannot_be_looked_up_is_no_try,
);

const POLICY: &str = r#"@id("writing-needs-a-yes")
forbid (principal is Agent, action == Action::"issue_token", resource == Scope::"notes:write")
unless { context has approval };"#;

/// A message as a relay takes it.
#[derive(Clone, Debug)]
struct Letter {
    from: String,
    to: Vec<String>,
    data: String,
}

/// A relay that speaks just enough SMTP.
#[derive(Clone, Debug, Default)]
struct Relay {
    taken: Arc<Mutex<Vec<Letter>>>,
    is_down: Arc<AtomicBool>,
}

impl Relay {
    async fn start() -> (Self, String) {
        let relay = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = relay.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(this.clone().speak(stream));
            }
        });
        (relay, format!("smtp://{address}"))
    }

    async fn speak(self, mut stream: TcpStream) -> Option<()> {
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read).lines();
        if self.is_down.load(Ordering::SeqCst) {
            return write.write_all(b"421 closing\r\n").await.ok();
        }
        write.write_all(b"220 relay.example\r\n").await.ok()?;
        let mut letter = Letter {
            from: String::new(),
            to: Vec::new(),
            data: String::new(),
        };
        while let Some(line) = lines.next_line().await.ok()? {
            let reply = match line.split_at_checked(4).map_or("", |(verb, _)| verb) {
                "EHLO" => "250-relay.example\r\n250 8BITMIME\r\n",
                "MAIL" => {
                    letter.from = line;
                    "250 ok\r\n"
                }
                "RCPT" => {
                    letter.to.push(line);
                    "250 ok\r\n"
                }
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await.ok()?;
                    while let Some(line) = lines.next_line().await.ok()?.filter(|line| line != ".") {
                        letter.data.push_str(&line);
                        letter.data.push('\n');
                    }
                    self.taken.lock().unwrap().push(letter.clone());
                    letter.to.clear();
                    letter.data.clear();
                    "250 taken\r\n"
                }
                _ => "250 ok\r\n",
            };
            write.write_all(reply.as_bytes()).await.ok()?;
        }
        Some(())
    }

    fn taken(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.taken.lock().unwrap())
    }
}

/// An estate whose resource has an owner, with a relay.
async fn world(place: &Place, list: Option<&str>, owner: &str) -> (Estate, Relay) {
    let (relay, url) = Relay::start().await;
    let node = outside::node(place, |config, _| {
        config.mail = Some(MailConfig {
            relay: url,
            password: None,
            from: "Chancery <chancery@id.example>".to_owned(),
        });
        config.approval_mail_to = list.map(str::to_owned);
    })
    .await;
    let estate = Estate::on(node, "").await;
    prepare(&estate, POLICY).await;
    write_to(&estate, "carol", Some("carol@example.com")).await;
    let mut notes = estate.show("resources", "notes").await["spec"].clone();
    notes["name"] = json!("notes");
    notes["owner"] = json!(owner);
    estate.apply(json!({ "resources": [notes] })).await;
    (estate, relay)
}

async fn write_to(estate: &Estate, name: &str, address: Option<&str>) {
    let attributes = address.map_or(json!({}), |address| json!({ "email": address }));
    estate
        .apply(json!({ "users": [{ "name": name, "issuer": "corp", "subject": name, "attributes": attributes }] }))
        .await;
}

async fn deliver(estate: &Estate) {
    chancery_server::approve::deliver::run(&estate.node.app)
        .await
        .unwrap();
}

async fn messages(estate: &Estate, id: &str) -> Value {
    let view = estate
        .admin("GET", &format!("/approvals/{id}"), Value::Null)
        .await;
    view["messages"].clone()
}

async fn whom_a_request_is_put_to_is_written_to_at_the_address_their_issuer_gave(place: Place) {
    let (estate, relay) = world(&place, None, "carol").await;
    let (_, id) = waits(&estate.planner_for_alice("write").await);
    deliver(&estate).await;
    let taken = relay.taken();
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert_eq!(taken[0].to, ["RCPT TO:<carol@example.com>"]);
    assert!(
        taken[0].from.starts_with("MAIL FROM:<chancery@id.example>"),
        "{:?}",
        taken[0]
    );
    let data = &taken[0].data;
    assert!(
        data.contains("Subject: Agent planner needs a person's yes\n"),
        "{data}"
    );
    assert!(data.contains(&format!("{BASE}/approvals/{id}\n")), "{data}");
    assert_eq!(messages(&estate, &id).await[0]["state"], "sent");
    deliver(&estate).await;
    assert!(relay.taken().is_empty(), "it goes out once");
}

async fn a_list_is_written_to_of_every_request(place: Place) {
    let (estate, relay) = world(&place, Some("approvers@example.com"), "group:lab").await;
    waits(&estate.planner_for_alice("write").await);
    deliver(&estate).await;
    let taken = relay.taken();
    assert_eq!(taken.len(), 1, "a group has no address: {taken:?}");
    assert_eq!(taken[0].to, ["RCPT TO:<approvers@example.com>"]);
}

async fn whoever_has_no_address_or_has_left_is_written_to_nowhere(place: Place) {
    let (estate, relay) = world(&place, None, "carol").await;
    let (_, id) = waits(&estate.planner_for_alice("write").await);
    write_to(&estate, "carol", None).await;
    deliver(&estate).await;
    let error = messages(&estate, &id).await[0]["error"].clone();
    assert!(error.as_str().unwrap().contains("attribute `email`"), "{error}");

    write_to(&estate, "carol", Some("carol@example.com")).await;
    estate
        .admin("POST", "/users/carol/suspend", json!({ "reason": "left" }))
        .await;
    estate.node.advance(Ttl::from_seconds(5)).await;
    deliver(&estate).await;
    let error = messages(&estate, &id).await[0]["error"].clone();
    assert!(error.as_str().unwrap().contains("no active person"), "{error}");
    assert!(relay.taken().is_empty());
}

async fn a_relay_that_is_down_delays_messages_and_loses_none(place: Place) {
    let (estate, relay) = world(&place, None, "carol").await;
    relay.is_down.store(true, Ordering::SeqCst);
    let (_, one) = waits(&estate.planner_for_alice("write").await);
    let (_, other) = waits(&estate.planner_for_alice("read write").await);
    deliver(&estate).await;
    let attempts = |messages: Value| messages[0]["attempts"].as_u64().unwrap();
    let tried = attempts(messages(&estate, &one).await) + attempts(messages(&estate, &other).await);
    assert_eq!(tried, 1, "the rest waits until the relay answers again");

    relay.is_down.store(false, Ordering::SeqCst);
    estate.node.advance(Ttl::from_seconds(5)).await;
    deliver(&estate).await;
    assert_eq!(relay.taken().len(), 2);
}

async fn after_a_while_whoever_answers_for_the_agent_is_written_to(place: Place) {
    let (estate, relay) = world(&place, None, "carol").await;
    write_to(&estate, "ops", Some("ops@example.com")).await;
    waits(&estate.planner_for_alice("write").await);
    deliver(&estate).await;
    assert_eq!(relay.taken().len(), 1);
    estate.node.advance(Ttl::from_minutes(4)).await;
    deliver(&estate).await;
    let mut to: Vec<String> = relay.taken().into_iter().flat_map(|letter| letter.to).collect();
    to.sort();
    assert_eq!(to, ["RCPT TO:<carol@example.com>", "RCPT TO:<ops@example.com>"]);
}

async fn an_address_that_cannot_be_looked_up_is_no_try(place: Place) {
    let (estate, relay) = world(&place, None, "carol").await;
    let (_, id) = waits(&estate.planner_for_alice("write").await);
    estate
        .node
        .edit("UPDATE users SET spec = '!' || spec WHERE name = 'carol'")
        .await;
    estate.node.app.directory.forget_all();
    deliver(&estate).await;
    let message = messages(&estate, &id).await[0].clone();
    assert_eq!(
        (&message["state"], &message["attempts"], &message["error"]),
        (&json!("waiting"), &json!(0), &Value::Null)
    );
    estate
        .node
        .edit("UPDATE users SET spec = SUBSTR(spec, 2) WHERE name = 'carol'")
        .await;
    deliver(&estate).await;
    assert_eq!(relay.taken().len(), 1);
}
