//! A connection that was let in, and when it has to go.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::transport::server::Connected;

use super::house::{GuestMark, HousePlace};
use super::opening::FirstRequest;
use crate::rpc::{GRACE, stopped};

/// Time for the first request.
pub(super) const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

type Deadline = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection, and its place among those at once.
pub(in crate::rpc) struct Admitted<S> {
    stream: S,
    /// Until its first request is here, and when it has to be.
    opening: Option<(FirstRequest, Deadline)>,
    /// The end of the grace after a stop, or when somebody else needs the place.
    end: Deadline,
    is_over: bool,
    /// Who wants to know when it has asked something.
    mark: Option<Arc<GuestMark>>,
    _places: (OwnedSemaphorePermit, Option<HousePlace>),
}

impl<S> Admitted<S> {
    /// Lets a connection in until `stop` holds true, and a grace longer if it has asked something.
    pub(super) fn new(
        stream: S,
        places: (OwnedSemaphorePermit, Option<HousePlace>),
        stop: watch::Receiver<bool>,
    ) -> Self {
        let stopping = stopped(stop.clone());
        let opened = Box::pin(async move {
            tokio::select! {
                () = stopping => {}
                () = tokio::time::sleep(OPENING_TIMEOUT) => {}
            }
        });
        let mark = places.1.as_ref().map(HousePlace::mark);
        let leaves = mark.clone();
        let end = Box::pin(async move {
            let told = async {
                match leaves {
                    Some(mark) => mark.told_to_leave().await,
                    None => std::future::pending().await,
                }
            };
            let grace_over = async {
                stopped(stop).await;
                tokio::time::sleep(GRACE).await;
            };
            tokio::select! {
                () = told => {}
                () = grace_over => {}
            }
        });
        Self {
            stream,
            opening: Some((FirstRequest::new(), opened)),
            end,
            is_over: false,
            mark,
            _places: places,
        }
    }

    /// Fails once the connection has to go; wakes the caller when that is.
    fn poll_over(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.is_over {
            let opening = self.opening.as_mut();
            let is_late = opening.is_some_and(|(_, by)| by.as_mut().poll(context).is_ready());
            self.is_over = is_late || self.end.as_mut().poll(context).is_ready();
        }
        match self.is_over {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }
}

impl<S: Connected> Connected for Admitted<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Admitted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_over(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let new = &buffer.filled()[before..];
        if self
            .opening
            .as_mut()
            .is_some_and(|(opening, _)| opening.saw(new))
        {
            self.opening = None;
            if let Some(mark) = &self.mark {
                mark.set_asked();
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Admitted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_over(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_over(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
