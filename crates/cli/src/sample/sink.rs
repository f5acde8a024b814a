//! Where a thief collects: a loopback server that keeps whatever is posted to it and hands out a receipt.
//!
//! It stands for any address that a poisoned text can name. It does nothing with what it gets but show it.

use super::listener::{Body, Bound, Serving, text};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use std::sync::{Arc, Mutex, PoisonError};

/// The running sink.
pub(crate) struct Sink {
    base: String,
    received: Arc<Mutex<Vec<String>>>,
    serving: Serving,
}

impl Sink {
    /// Starts on a loopback port, 0 for any.
    ///
    /// # Errors
    /// If the port is taken.
    pub(crate) async fn start(port: u16) -> anyhow::Result<Self> {
        let bound = Bound::to_loopback(port).await?;
        let base = bound.base();
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        let serving = bound.serve(move |request| {
            let kept = Arc::clone(&kept);
            async move { keep(request, &kept).await }
        });
        Ok(Self {
            base,
            received,
            serving,
        })
    }

    /// Where to post.
    pub(crate) fn url(&self) -> String {
        format!("{}/collect", self.base)
    }

    /// What was posted since the last time this was asked.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops.
    pub(crate) async fn stop(self) {
        self.serving.stop().await;
    }
}

async fn keep(request: Request<Incoming>, kept: &Mutex<Vec<String>>) -> Response<Body> {
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "post it\n");
    }
    let Ok(body) = Limited::new(request.into_body(), BODY_LIMIT).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "too much\n");
    };
    let words = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let receipt = format!("thanks for {} bytes\n", words.len());
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    text(StatusCode::OK, receipt)
}

/// The most that is kept of one post.
const BODY_LIMIT: usize = 256 * 1024;
