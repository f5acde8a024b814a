//! What happens on one connection: how many requests are under way, and whether a head is being read. From
//! it follows when a connection has been idle, or has stalled, for too long.

use super::limits::Limits;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Sleep;

/// The state of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    under_way: AtomicUsize,
    is_served: AtomicBool,
    is_http2: AtomicBool,
    is_reading: AtomicBool,
    changed: Notify,
}

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lapse {
    /// A head did not come, or did not come to its end, in time.
    Stalled,
    /// No request came for long.
    Idle,
}

impl Activity {
    /// Counts a request in; it is counted out when the ticket is dropped.
    pub(super) fn begin(self: &Arc<Self>, version: http::Version) -> Ticket {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        self.is_served.store(true, Ordering::SeqCst);
        self.is_http2
            .store(version == http::Version::HTTP_2, Ordering::SeqCst);
        self.is_reading.store(false, Ordering::SeqCst);
        self.changed.notify_one();
        Ticket(Arc::clone(self))
    }

    /// Returns when the connection has stalled or been idle for too long.
    pub(super) async fn lapse(&self, limits: &Limits) -> Lapse {
        loop {
            let changed = self.changed.notified();
            if self.under_way.load(Ordering::SeqCst) > 0 {
                changed.await;
                continue;
            }
            let lapse = self.pending_lapse();
            let patience = match lapse {
                Lapse::Stalled => limits.header_read_timeout,
                Lapse::Idle => limits.idle_timeout,
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(patience.as_std()) => return lapse,
            }
        }
    }

    /// What it would be called if nothing more came. HTTP/2 peers also send frames that are no request, and
    /// show by answering pings that they are alive.
    fn pending_lapse(&self) -> Lapse {
        let is_reading = self.is_reading.load(Ordering::SeqCst) && !self.is_http2.load(Ordering::SeqCst);
        if is_reading || !self.is_served.load(Ordering::SeqCst) {
            Lapse::Stalled
        } else {
            Lapse::Idle
        }
    }

    fn note_bytes(&self) {
        let is_first = self.under_way.load(Ordering::SeqCst) == 0
            && self.is_served.load(Ordering::SeqCst)
            && !self.is_reading.swap(true, Ordering::SeqCst);
        // More bytes of the same head do not start the clock anew.
        if is_first && !self.is_http2.load(Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Activity>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.is_reading.store(false, Ordering::SeqCst);
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_one();
    }
}

/// A response body that keeps its request under way until it is sent or dropped.
#[derive(Debug)]
pub(super) struct TicketedBody {
    pub(super) inner: axum::body::Body,
    pub(super) _ticket: Ticket,
}

impl Body for TicketedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A stream that tells when bytes come in, and fails when for too long none go out.
#[derive(Debug)]
pub(super) struct Watched<I> {
    inner: I,
    activity: Arc<Activity>,
    write_timeout: Duration,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<I> Watched<I> {
    pub(super) const fn new(inner: I, activity: Arc<Activity>, write_timeout: Duration) -> Self {
        Self {
            inner,
            activity,
            write_timeout,
            stall: None,
        }
    }

    /// Bounds how long the peer may leave what we send unread.
    fn bounded<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall = None;
            return polled;
        }
        let patience = self.write_timeout;
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stall
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.note_bytes();
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.bounded(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(context);
        self.bounded(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(context);
        self.bounded(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.bounded(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
