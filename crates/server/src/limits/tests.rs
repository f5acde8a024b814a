use super::*;

const START: Timestamp = Timestamp::from_seconds(1_000_000);

fn limits(text: &str) -> Limits {
    Limits::new(text.parse().unwrap(), Metrics::new().0)
}

fn asking(agent: u8, resource: u8) -> Asking<'static> {
    Asking {
        tenant: TenantId::from_bytes([1; 16]),
        agent: AgentId::from_bytes([agent; 16]),
        user: None,
        resource: ResourceId::from_bytes([resource; 16]),
        tool: Some("pay"),
    }
}

#[test]
fn a_rate_passes_two_seconds_worth_at_once_and_then_its_rate() {
    let limits = limits("off,agent=10/0");
    let passed = |now| {
        (0..100)
            .filter(|_| limits.pass(asking(1, 1), now).is_ok())
            .count()
    };
    assert_eq!(passed(START), 20);
    assert_eq!(passed(START), 0);
    assert_eq!(passed(START.plus(Ttl::from_seconds(1))), 10);
    assert_eq!(passed(START.plus(Ttl::from_minutes(60))), 20);
}

#[test]
fn the_answer_says_when_there_is_room_again() {
    let limits = limits("off,agent=1/0");
    while limits.pass(asking(1, 1), START).is_ok() {}
    let limited = limits.pass(asking(1, 1), START).unwrap_err();
    assert_eq!((limited.limit, limited.retry_seconds()), (Limit::Agent, 1));
    let later = START.plus(limited.retry_after);
    assert!(limits.pass(asking(1, 1), later).is_ok());
}

#[test]
fn one_agent_takes_nothing_from_another() {
    let limits = limits("off,agent=1/1");
    while limits.pass(asking(1, 1), START).is_ok() {}
    assert!(limits.enter(asking(2, 1), START).is_ok());
}

#[test]
fn what_is_under_way_counts_until_its_ticket_is_dropped() {
    let limits = limits("off,agent=0/2");
    let first = limits.enter(asking(1, 1), START).unwrap();
    let _second = limits.enter(asking(1, 1), START).unwrap();
    assert_eq!(limits.enter(asking(1, 1), START).unwrap_err().limit, Limit::Agent);
    drop(first);
    assert!(limits.enter(asking(1, 1), START).is_ok());
}

#[test]
fn a_refused_call_leaves_no_other_count_behind() {
    let limits = limits("off,tenant=0/9,agent=0/1");
    let held = limits.enter(asking(1, 1), START).unwrap();
    for _ in 0..20 {
        assert!(limits.enter(asking(1, 1), START).is_err());
    }
    drop(held);
    let all: Vec<_> = (1..=9)
        .map(|agent| limits.enter(asking(agent, 1), START))
        .collect();
    assert!(all.iter().all(Result::is_ok));
}

#[test]
fn a_resource_that_does_not_answer_holds_up_no_other() {
    let limits = limits("off,agent=0/1,user=0/1");
    let _hanging = limits.enter(asking(1, 1), START).unwrap();
    assert!(limits.enter(asking(1, 1), START).is_err());
    assert!(limits.enter(asking(1, 2), START).is_ok());
}

#[test]
fn the_tools_limit_holds_over_all_agents() {
    let limits = limits("off,tool=0/2");
    let _held: Vec<_> = (1..=2)
        .map(|agent| limits.enter(asking(agent, 1), START).unwrap())
        .collect();
    assert_eq!(limits.enter(asking(3, 1), START).unwrap_err().limit, Limit::Tool);
}

#[test]
fn limits_are_read_and_what_is_not_named_keeps_its_default() {
    let read: CallLimits = "agent=7/3, token=9 ,request_bytes=10".parse().unwrap();
    assert_eq!((read.agent.per_second, read.agent.concurrent), (7, 3));
    assert_eq!((read.token.per_second, read.request_bytes), (9, 10));
    assert_eq!(read.tool, CallLimits::default().tool);
    assert_eq!("off".parse::<CallLimits>().unwrap().tenant.concurrent, 0);
    for broken in ["agent", "agent=x", "agent=1/x", "nobody=1", "request_bytes=-1"] {
        assert!(broken.parse::<CallLimits>().is_err(), "{broken}");
    }
}
