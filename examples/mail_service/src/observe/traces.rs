//! Traces: of every request a span, continued from the caller's (W3C Trace Context).

use axum::http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::otlp::Collector;

/// Who makes spans and has them sent, in batches, by a thread of its own.
pub fn provider(collector: Collector) -> SdkTracerProvider {
    let resource = Resource::builder_empty().with_attributes([KeyValue::new("service.name", "mail_service")]).build();
    SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(collector).build()
}

/// Makes the span part of the trace that `traceparent` names, if it does.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        // Refused by a span that nobody exports.
        drop(span.set_parent(TraceContextPropagator::new().extract(&Headers(headers))));
    }
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
