//! `chancery calls`: what agents called, as sentences or JSON lines; with `--follow` as it happens.

use crate::connection::{Connection, Refused};
use crate::print::{self, Output, field};
use anyhow::{Context as _, bail};
use chancery_core::time::{Clock as _, Timestamp, Ttl};
use chancery_server::world::SystemClock;
use clap::Args;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// Arguments of `calls`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CallsArguments {
    /// Only of this agent.
    #[arg(long)]
    agent: Option<String>,
    /// Only for this person.
    #[arg(long)]
    user: Option<String>,
    /// Only at this resource.
    #[arg(long)]
    resource: Option<String>,
    /// Only of this tool, prompt, document or request.
    #[arg(long)]
    tool: Option<String>,
    /// From then on: `30m`, `12h`, `1d` ago, or a moment such as `2026-11-22T14:00:00Z`.
    #[arg(long)]
    since: Option<String>,
    /// Until then, written like --since.
    #[arg(long, conflicts_with = "follow")]
    until: Option<String>,
    /// Only those that were refused.
    #[arg(long)]
    denied: bool,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Go on where the page before ended.
    #[arg(long, conflicts_with = "follow")]
    cursor: Option<String>,
    /// Stay and print calls as they come.
    #[arg(long)]
    follow: bool,
}

/// `chancery calls`.
///
/// # Errors
/// What the server refuses.
pub(crate) async fn run(
    arguments: CallsArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let since = arguments
        .since
        .as_deref()
        .map(|text| moment(text, now))
        .transpose()?;
    let until = arguments
        .until
        .as_deref()
        .map(|text| moment(text, now))
        .transpose()?;
    let filter = filter(&arguments);
    if arguments.follow {
        let since = since.unwrap_or_else(|| now.to_string());
        return follow(connection, &filter, since, output).await;
    }
    let bounds = Bounds {
        since: since.as_deref(),
        until: until.as_deref(),
        limit: arguments.limit,
    };
    let (mut calls, next) = pages(connection, &filter, &bounds, arguments.cursor.clone()).await?;
    // The newest last, where the eye is.
    calls.reverse();
    for call in &calls {
        show(call, output);
    }
    if let Some(next) = next {
        print::note(&format!("more: --cursor {next}"));
    }
    Ok(())
}

struct Bounds<'a> {
    since: Option<&'a str>,
    until: Option<&'a str>,
    limit: u32,
}

type Filter = Vec<(&'static str, String)>;

fn filter(arguments: &CallsArguments) -> Filter {
    let named = [
        ("agent", arguments.agent.clone()),
        ("user", arguments.user.clone()),
        ("resource", arguments.resource.clone()),
        ("tool", arguments.tool.clone()),
        ("denied", arguments.denied.then(|| "true".to_owned())),
    ];
    named
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Calls, newest first, over as many pages as it takes, and where more are.
async fn pages(
    connection: &Connection,
    filter: &Filter,
    bounds: &Bounds<'_>,
    mut cursor: Option<String>,
) -> anyhow::Result<(Vec<Value>, Option<String>)> {
    let wanted = usize::try_from(bounds.limit).unwrap_or(usize::MAX);
    let mut calls = Vec::new();
    loop {
        let missing = wanted.saturating_sub(calls.len()).clamp(1, 500);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(filter);
        query.append_pair("limit", &missing.to_string());
        for (name, value) in [
            ("since", bounds.since),
            ("until", bounds.until),
            ("cursor", cursor.as_deref()),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let page = connection.read(&format!("/calls?{}", query.finish())).await?;
        let items = page
            .get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        calls.extend(items);
        cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() || calls.len() >= wanted {
            return Ok((calls, cursor));
        }
    }
}

/// Prints calls as they come: one that is permitted when it has ended, or when it takes long, and then again.
async fn follow(
    connection: &Connection,
    filter: &Filter,
    since: String,
    output: Output,
) -> anyhow::Result<()> {
    let mut watch = Watch::new(since);
    let mut is_away = false;
    loop {
        match news(connection, filter, &watch).await {
            Ok(calls) => {
                is_away = false;
                for call in watch.fresh(calls, SystemClock.now()) {
                    show(&call, output);
                }
            }
            // What is refused stays refused; a server that is not there comes back.
            Err(error)
                if error
                    .downcast_ref::<Refused>()
                    .is_some_and(|refused| refused.status < 500) =>
            {
                return Err(error);
            }
            Err(error) => {
                if !is_away {
                    print::note(&format!("the server does not answer; waiting for it: {error:#}"));
                }
                is_away = true;
            }
        }
        tokio::select! {
            () = crate::serve::stopped() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// What may have changed since it was asked last, oldest first: the newest calls, and older ones that had not ended.
async fn news(connection: &Connection, filter: &Filter, watch: &Watch) -> anyhow::Result<Vec<Value>> {
    let since = watch.since();
    let mut windows: Vec<(String, Option<String>)> = watch
        .waiting()
        .into_iter()
        .map(|time| (time.to_string(), Some(time.plus(Ttl::from_millis(1)).to_string())))
        .collect();
    windows.push((since, None));
    let mut news = Vec::new();
    for (since, until) in &windows {
        let bounds = Bounds {
            since: Some(since),
            until: until.as_deref(),
            limit: u32::MAX,
        };
        let (calls, _) = pages(connection, filter, &bounds, None).await?;
        news.extend(calls.into_iter().rev());
    }
    Ok(news)
}

/// What was printed, so that each call is printed once, and from where to ask again.
struct Watch {
    /// The moment from which everything is known.
    start: String,
    /// Calls that were seen, by decision, with when they were decided and what was printed of them.
    seen: HashMap<String, Seen>,
}

struct Seen {
    time: String,
    shown: Shown,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    Nothing,
    Decision,
    End,
}

impl Watch {
    fn new(start: String) -> Self {
        Self {
            start,
            seen: HashMap::new(),
        }
    }

    /// From a little before the newest: a call may be recorded a moment late.
    fn since(&self) -> String {
        let newest = self.seen.values().map(|seen| seen.time.as_str()).max();
        let settled = newest
            .and_then(parse)
            .map(|newest| newest.minus(LATE).to_string());
        // Texts of the one form sort as their moments.
        settled.map_or_else(|| self.start.clone(), |settled| settled.max(self.start.clone()))
    }

    /// When calls were decided that have not ended and are older than that; the newest few.
    fn waiting(&self) -> Vec<Timestamp> {
        let since = self.since();
        let open = self
            .seen
            .values()
            .filter(|seen| seen.shown < Shown::End && seen.time < since);
        let mut times: Vec<Timestamp> = open.filter_map(|seen| parse(&seen.time)).collect();
        times.sort_unstable();
        times.dedup();
        times.split_off(times.len().saturating_sub(WAITING))
    }

    /// What is to be printed of a page, oldest first.
    fn fresh(&mut self, calls: Vec<Value>, now: Timestamp) -> Vec<Value> {
        let mut fresh = Vec::new();
        for call in calls {
            let time = field(&call, &["time"]);
            // What is not waited for any more was printed, and only stands beside what is.
            if time < self.start && !self.seen.contains_key(&field(&call, &["decision"])) {
                continue;
            }
            let has_ended = field(&call, &["outcome"]) == "refused" || call.get("end").is_some();
            let is_old = parse(&time).is_some_and(|time| now.since(time) >= PATIENCE);
            let now_shown = match (has_ended, is_old) {
                (true, _) => Shown::End,
                (false, true) => Shown::Decision,
                (false, false) => Shown::Nothing,
            };
            let seen = self.seen.entry(field(&call, &["decision"])).or_insert(Seen {
                time,
                shown: Shown::Nothing,
            });
            if now_shown > seen.shown {
                seen.shown = now_shown;
                fresh.push(call);
            }
        }
        self.forget(now);
        fresh
    }

    /// Forgets what is not asked for any more, and gives up on calls that never ended.
    fn forget(&mut self, now: Timestamp) {
        self.start = self.since();
        let start = self.start.clone();
        self.seen.retain(|_, seen| {
            let is_given_up = parse(&seen.time).is_none_or(|time| now.since(time) >= GIVEN_UP);
            seen.time >= start || (seen.shown < Shown::End && !is_given_up)
        });
    }
}

fn show(call: &Value, output: Output) {
    if output.json {
        print::line(&call.to_string());
        return;
    }
    let time = field(call, &["time"]);
    let time = time.get(..19).unwrap_or(&time).replace('T', " ");
    print::line(&format!("{time} {}", field(call, &["sentence"])));
}

/// A moment: RFC 3339, or so long before now.
fn moment(text: &str, now: Timestamp) -> anyhow::Result<String> {
    let Some((place, unit)) = text
        .char_indices()
        .last()
        .filter(|(_, unit)| "smhd".contains(*unit))
    else {
        return Ok(text.to_owned());
    };
    let number: u64 = text
        .get(..place)
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("`{text}` is neither so long ago, as in `1d`, nor a moment"))?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => bail!("`{text}` has no unit of s, m, h or d"),
    };
    Ok(now
        .minus(Ttl::from_seconds(number.saturating_mul(seconds)))
        .to_string())
}

fn parse(time: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = time.parse().ok()?;
    Some(Timestamp::from_micros(parsed.as_microsecond()))
}

const PAUSE: Duration = Duration::from_millis(500);
/// How much later than its moment a call may show up: other nodes, and what is being committed.
const LATE: Ttl = Ttl::from_seconds(5);
/// After that a call is printed though it has not ended.
const PATIENCE: Ttl = Ttl::from_seconds(10);
/// How many calls that have not ended are asked for again.
const WAITING: usize = 32;
/// After that nobody waits for its end any more: it is longer than a call may take.
const GIVEN_UP: Ttl = Ttl::from_minutes(65);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(seconds: i64, ended: bool) -> Value {
        let mut call = json!({
            "decision": format!("dec_{seconds}"),
            "time": Timestamp::from_seconds(seconds).to_string(),
            "outcome": "permitted",
        });
        if ended {
            call["end"] = json!({});
        }
        call
    }

    #[test]
    fn so_long_ago_is_a_moment() {
        let now = Timestamp::from_seconds(86_400 * 3);
        assert_eq!(moment("1d", now).unwrap(), "1970-01-03T00:00:00.000000Z");
        assert_eq!(
            moment("2026-11-22T14:00:00Z", now).unwrap(),
            "2026-11-22T14:00:00Z"
        );
        assert!(moment("xd", now).is_err());
    }

    #[test]
    fn a_call_is_printed_once_when_it_has_ended() {
        let mut watch = Watch::new(Timestamp::from_seconds(1).to_string());
        let at = Timestamp::from_seconds;
        assert!(watch.fresh(vec![call(10, false)], at(11)).is_empty());
        assert_eq!(watch.since(), Timestamp::from_seconds(5).to_string());
        assert_eq!(watch.fresh(vec![call(10, true), call(30, true)], at(31)).len(), 2);
        assert!(watch.fresh(vec![call(30, true)], at(32)).is_empty());
        assert_eq!(watch.since(), Timestamp::from_seconds(25).to_string());
    }

    #[test]
    fn a_long_call_is_asked_for_by_itself_and_printed_twice_and_one_without_an_end_is_given_up() {
        let mut watch = Watch::new(Timestamp::from_seconds(1).to_string());
        let at = Timestamp::from_seconds;
        assert_eq!(watch.fresh(vec![call(10, false)], at(25)).len(), 1);
        assert!(watch.fresh(vec![call(10, false)], at(26)).is_empty());
        watch.fresh(vec![call(900, true)], at(900));
        assert_eq!(watch.since(), Timestamp::from_seconds(895).to_string());
        assert_eq!(watch.waiting(), [at(10)]);
        let beside = json!({ "decision": "dec_other", "time": at(10).to_string(), "outcome": "refused" });
        assert_eq!(watch.fresh(vec![call(10, true), beside], at(901)).len(), 1);
        assert!(watch.waiting().is_empty());
        watch.fresh(vec![call(1_000, false), call(2_000, true)], at(2_000));
        assert_eq!(watch.waiting(), [at(1_000)]);
        watch.fresh(Vec::new(), at(1_000 + 66 * 60));
        assert!(watch.waiting().is_empty());
    }
}
