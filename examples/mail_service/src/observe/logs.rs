//! Logs: a line of JSON for every event, with the fields of the spans around it.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::otlp::Collector;
use super::traces;

/// What is observed ends with this, once everything has been sent.
#[must_use = "what has not been sent goes with it"]
pub struct Observed {
    provider: Option<SdkTracerProvider>,
}

/// A subscriber that writes lines of JSON to `writer`, and sends traces to the collector if there is one.
pub fn begin<W>(
    writer: W,
    level: LevelFilter,
    collector: Option<Collector>,
) -> (impl Subscriber + Send + Sync, Observed)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let provider = collector.map(traces::provider);
    let traced = provider.as_ref().map(|provider| {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("mail_service"));
        layer.with_location(false).with_threads(false)
    });
    let lines = tracing_subscriber::fmt::layer().json().with_current_span(true).with_span_list(false);
    let subscriber = tracing_subscriber::registry().with(level).with(lines.with_writer(writer)).with(traced);
    (subscriber, Observed { provider })
}

/// From now on a panic is told by its place alone, in the log: its text may be somebody's mail, as that of a string that was cut
/// within a character is.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a defect: a request has panicked");
    }));
}

impl Observed {
    /// Sends what has not been sent.
    pub fn end(self) {
        if let Some(provider) = self.provider {
            drop(provider.shutdown());
        }
    }
}
