//! Metrics: the store's own and those of requests, rendered for Prometheus.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Seconds that requests take, as they are told apart.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Everything that is counted in this process. A cheap handle.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Begins to count; the first time for the whole process.
    #[must_use]
    pub fn begin() -> Self {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        let handle = HANDLE.get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let is_seconds = Matcher::Suffix("_seconds".to_owned());
            // Fails without buckets, and there are some.
            let builder = builder.set_buckets_for_metric(is_seconds, &BUCKETS).unwrap_or_default();
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            // Whoever has a recorder of their own keeps it; ours then renders nothing.
            drop(metrics::set_global_recorder(recorder));
            handle
        });
        metrics::describe_counter!("mail_requests_total", "Requests answered, by method, route and status");
        metrics::describe_histogram!("mail_request_seconds", "How long requests took, by method and route");
        Self(handle.clone())
    }

    /// What was counted, in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// To be called every few seconds.
    pub fn tend(&self) {
        self.0.run_upkeep();
    }
}

/// Counts a request. Tenants have no part in it: there may be very many, and their names are theirs.
pub fn request_done(method: &'static str, route: &str, status: u16, took_ms: u64) {
    let took_secs = f64::from(u32::try_from(took_ms).unwrap_or(u32::MAX)) / 1000.0;
    let (route, status) = (route.to_owned(), status.to_string());
    metrics::histogram!("mail_request_seconds", "method" => method, "route" => route.clone()).record(took_secs);
    metrics::counter!("mail_requests_total", "method" => method, "route" => route, "status" => status).increment(1);
}
