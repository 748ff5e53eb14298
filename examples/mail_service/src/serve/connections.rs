//! Connections: so many at once, with headers in time, and an end in order.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Connections at once; one more waits to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// How long the header of a request may take, from the first byte or from the end of the request before: an idle
/// connection ends after it too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a header, at most.
const HEADER_MAX_LEN: usize = 32 << 10;

/// Serves until `ended`, then for at most `drain`.
pub async fn serve(listener: TcpListener, router: Router, mut ended: watch::Receiver<bool>, drain: Duration) {
    let graceful = GracefulShutdown::new();
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(turn) = turns.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.wait_for(|ended| *ended) => break,
        };
        let Ok((stream, _)) = accepted else {
            // Descriptors have run out: others end meanwhile.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Answers are small, and waited for.
        drop(stream.set_nodelay(true));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_MAX_LEN);
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // Who goes away, goes.
            drop(connection.await);
            drop(turn);
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were cut that did not end in time");
    }
}
