//! Scans as streams: a page is read when the one before has been taken.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::panic;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::turns::{Pace, Turn};
use crate::collection::{self, Key, Rows};
use crate::error::{Error, ErrorKind, Result};

/// Rows of a collection, as `Result<(key, value)>`: a
/// [`Stream`](https://docs.rs/futures-core/latest/futures_core/stream/trait.Stream.html) that owns its snapshot.
///
/// Rows are read some 128 KiB at a time, on threads that may block, and no further than they are taken. A row that fails ends
/// the scan; so does a session that has ended. Drop a scan that is not read to its end.
pub struct Scan<K: Key, V> {
    rows: VecDeque<Row<K, V>>,
    rest: Rest<K, V>,
    turn: Turn,
}

enum Rest<K: Key, V> {
    Ended,
    Waiting(Box<collection::Scan<K, V>>),
    Reading(Reading<K, V>),
}

type Row<K, V> = Result<(<K as Key>::Owned, V)>;

/// A page that is being read, by a task of its own: whoever has asked for it may do something else of the same tenant before
/// looking at it, and a turn that had come meanwhile would be kept from them for ever. Dropping it ends the task.
struct Reading<K: Key, V>(JoinHandle<Result<Rows<K, V>>>);

impl<K: Key + 'static, V: Send + 'static> Scan<K, V> {
    pub(super) fn new(first: Rows<K, V>, turn: Turn) -> Self {
        let Rows { rows, rest } = first;
        Self { rows, rest: Rest::of(rest), turn }
    }

    /// The next row. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<Result<(K::Owned, V)>> {
        poll_fn(|context| self.poll_row(context)).await
    }

    fn poll_row(&mut self, context: &mut Context<'_>) -> Poll<Option<Row<K, V>>> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Poll::Ready(Some(row));
            }
            match std::mem::replace(&mut self.rest, Rest::Ended) {
                Rest::Ended => return Poll::Ready(None),
                Rest::Waiting(scan) => match self.read_on(scan) {
                    Ok(reading) => self.rest = Rest::Reading(reading),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Rest::Reading(mut reading) => {
                    let Poll::Ready(page) = reading.poll(context) else {
                        self.rest = Rest::Reading(reading);
                        return Poll::Pending;
                    };
                    match page {
                        Ok(Rows { rows, rest }) => (self.rows, self.rest) = (rows, Rest::of(rest)),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
            }
        }
    }

    fn read_on(&self, scan: Box<collection::Scan<K, V>>) -> Result<Reading<K, V>> {
        let runtime = Handle::try_current().map_err(|_| Error::invalid("there is no Tokio runtime here"))?;
        let turn = self.turn.clone();
        let page = async move { turn.run(Pace::Reads, move || Ok(scan.next_page())).await };
        Ok(Reading(runtime.spawn(page)))
    }
}

impl<K: Key, V> Reading<K, V> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Rows<K, V>>> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(context)).unwrap_or_else(
            |failed| match failed.try_into_panic() {
                Ok(panicked) => panic::resume_unwind(panicked),
                Err(_) => Err(Error::new(ErrorKind::Closed, "the runtime has ended")),
            },
        ))
    }
}

impl<K: Key, V> Drop for Reading<K, V> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<K: Key + 'static, V> Rest<K, V> {
    fn of(scan: Option<collection::Scan<K, V>>) -> Self {
        scan.map_or(Self::Ended, |scan| Self::Waiting(Box::new(scan)))
    }
}

/// Nothing in it is ever pinned where it is: what is awaited has a box of its own.
impl<K: Key, V> Unpin for Scan<K, V> {}

impl<K: Key + 'static, V: Send + 'static> Stream for Scan<K, V> {
    type Item = Result<(K::Owned, V)>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.get_mut().poll_row(context)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rows.len(), matches!(self.rest, Rest::Ended).then_some(self.rows.len()))
    }
}

impl<K: Key + 'static, V: Send + 'static> FusedStream for Scan<K, V> {
    fn is_terminated(&self) -> bool {
        self.rows.is_empty() && matches!(self.rest, Rest::Ended)
    }
}

impl<K: Key, V> std::fmt::Debug for Scan<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("ready", &self.rows.len()).finish_non_exhaustive()
    }
}
