//! How a call ended: recorded beside the answer, by gateway and broker alike.

use crate::app::App;
use crate::gateway::decision::{self, Ended};
use crate::gateway::relay::Fault;
use crate::tenants::Served;
use chancery_core::event::EventOutcome;
use chancery_policy::UsePermit;
use std::sync::Arc;

/// What is known at the end of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// The upstream's status, if it answered.
    pub status: Option<u16>,
    /// What went wrong.
    pub fault: Option<Fault>,
    /// How many bytes of answer were handed on.
    pub bytes: usize,
}

impl End {
    /// An end without an answer.
    pub fn without_answer(fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..Self::default()
        }
    }

    /// An end with an answer that is not handed on.
    pub fn with_status(status: u16, fault: Fault) -> Self {
        Self {
            status: Some(status),
            ..Self::without_answer(fault)
        }
    }

    /// Hands it to the log.
    pub fn record(self, app: &Arc<App>, served: &Served, permit: &UsePermit) {
        let (plan, decision) = (permit.plan(), permit.decision().id);
        if self.fault == Some(Fault::Echo) {
            tracing::error!(%decision, "an upstream sent a credential back; its answer was cut");
        }
        let is_ok = self.fault.is_none() && self.status.is_some_and(|status| status < 400);
        let outcome = if is_ok {
            EventOutcome::Ok
        } else {
            EventOutcome::Failed
        };
        let since = app.clock.now().since(plan.now);
        let ended = Ended {
            status: self.status,
            fault: self.fault.map(Fault::as_str),
            milliseconds: u64::try_from(since.as_std().as_millis()).unwrap_or(u64::MAX),
            bytes: self.bytes as u64,
        };
        decision::ended(app, served, (plan, decision), outcome, &ended);
    }
}
