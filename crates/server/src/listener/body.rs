//! The body of a request, which has to come in time.

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// A body that fails when it does not come to its end in time. The time runs from the first wait, so that a service
/// that does not read it is not hurried.
pub struct RequestBody {
    inner: Incoming,
    patience: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    is_late: Late,
}

/// Whether a body was late: told to whoever answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Late(Arc<AtomicBool>);

impl Late {
    pub(super) fn is_late(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The body did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body did not come in time")]
pub struct BodyTimeout;

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// It took too long.
    #[error(transparent)]
    Timeout(#[from] BodyTimeout),
    /// The connection failed, or what came is not HTTP.
    #[error(transparent)]
    Transport(#[from] hyper::Error),
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, patience: Duration, is_late: Late) -> Self {
        Self {
            inner,
            patience,
            deadline: None,
            is_late,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(RequestBodyError::from)));
        }
        let patience = self.patience;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if deadline.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.is_late.0.store(true, Ordering::SeqCst);
        Poll::Ready(Some(Err(BodyTimeout.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
