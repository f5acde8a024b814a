//! Work that goes on beside requests: following the revocation feed, folding events into the log, signing
//! checkpoints and handing them on, asking key services that fail, ending what has expired.

pub mod expiry;
pub mod feed;
pub mod freshness;
pub mod integrator;

use crate::app::App;
use chancery_core::time::Ttl;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Runs every job until the token is cancelled.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    tokio::join!(
        repeat(app.clone(), Job::Feed, stop.clone()),
        repeat(app.clone(), Job::Integrator, stop.clone()),
        repeat(app.clone(), Job::Sinks, stop.clone()),
        repeat(app.clone(), Job::Approvals, stop.clone()),
        repeat(app.clone(), Job::KeyServices, stop.clone()),
        repeat(app, Job::Expiry, stop),
    );
}

#[derive(Clone, Copy)]
enum Job {
    Feed,
    Integrator,
    Sinks,
    Approvals,
    KeyServices,
    Expiry,
}

impl Job {
    const fn period(self) -> Ttl {
        match self {
            Self::Feed => Ttl::from_millis(200),
            Self::Integrator | Self::Sinks => Ttl::from_millis(500),
            Self::Approvals => Ttl::from_seconds(1),
            Self::KeyServices => Ttl::from_seconds(2),
            Self::Expiry => Ttl::from_minutes(1),
        }
    }

    async fn run(self, app: &App) {
        match self {
            Self::Feed => feed::follow_logged(app).await,
            Self::Integrator => integrator::run_logged(app).await,
            Self::Sinks => app.sinks.deliver(app.clock.now()).await,
            Self::Approvals => crate::approve::deliver::run_logged(app).await,
            Self::KeyServices => crate::kms::watch_logged(app).await,
            Self::Expiry => expiry::run_logged(app).await,
        }
    }
}

async fn repeat(app: Arc<App>, job: Job, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(job.period().as_std());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => job.run(&app).await,
        }
    }
}
