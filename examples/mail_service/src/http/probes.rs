//! What operators' programs ask: is it alive, should requests be sent to it, and what has it counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::App;
use crate::identity::KeysAtHand;

/// Whether requests should be sent here: the store is open, the identity provider's keys are at hand, and nobody has asked
/// the service to end.
#[derive(Clone)]
pub struct Readiness {
    is_ending: Arc<AtomicBool>,
    keys: Arc<dyn KeysAtHand>,
}

impl Readiness {
    /// Ready as soon as the keys are.
    pub fn new(keys: impl KeysAtHand) -> Self {
        Self { is_ending: Arc::default(), keys: Arc::new(keys) }
    }

    /// From now on not ready: requests that come all the same are answered while there is time.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
    }

    fn reason_against(&self) -> Option<&'static str> {
        if self.is_ending.load(Ordering::SeqCst) {
            return Some("the service is ending");
        }
        (!self.keys.are_at_hand()).then_some("the keys of the identity provider are not at hand")
    }
}

/// The probes, at the paths that orchestrators ask.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/healthz", get(|| async { "alive\n" })).route("/readyz", get(ready))
}

async fn ready(State(app): State<Arc<App>>) -> impl IntoResponse {
    let readiness = app.readiness.clone();
    // The keys may be asked for over the network.
    let against = tokio::task::spawn_blocking(move || readiness.reason_against()).await;
    match against {
        Ok(None) => (StatusCode::OK, "ready\n"),
        Ok(Some(reason)) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not known"),
    }
}

/// What is counted, in the text format of Prometheus.
pub async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}
