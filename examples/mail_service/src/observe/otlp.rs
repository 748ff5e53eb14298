//! Spans to a collector: OTLP over HTTP, as JSON (the protocol's own encoding, `http/json`).
//!
//! Written here because the usual exporter builds Protocol Buffers, and compiles with features that would have RocksDB's
//! bindings compiled again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use serde_json::json;
use strongroom::{Error, ErrorKind, Result};
use ureq::Agent;

use crate::identity::is_here;

/// A collector of traces.
#[derive(Debug)]
pub struct Collector {
    url: String,
    agent: Agent,
    resource: serde_json::Value,
}

impl Collector {
    /// The collector that takes traces at `url`, usually `http://127.0.0.1:4318/v1/traces`: one on this machine, which
    /// sends them on.
    ///
    /// # Errors
    /// `Invalid` if it is elsewhere: it is asked without TLS.
    pub fn new(url: impl Into<String>) -> Result<Self> {
        let url = url.into();
        if !is_here(&url) {
            return Err(Error::new(ErrorKind::Invalid, "the collector of traces is one on this machine, over HTTP"));
        }
        let config = Agent::config_builder().proxy(None).max_redirects(0).timeout_global(Some(Duration::from_secs(5)));
        Ok(Self { url, agent: config.build().new_agent(), resource: json!({}) })
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans: Vec<_> = batch.iter().map(span).collect();
        let scope = json!({"scope": {"name": "mail_service"}, "spans": spans});
        let body = json!({"resourceSpans": [{"resource": self.resource, "scopeSpans": [scope]}]});
        let sent = self.agent.post(&self.url).content_type("application/json").send(body.to_string());
        sent.map(drop).map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
    }

    fn set_resource(&mut self, resource: &Resource) {
        let pairs = resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        self.resource = json!({"attributes": attributes(&pairs.collect::<Vec<_>>())});
    }
}

fn span(span: &SpanData) -> serde_json::Value {
    let parent = match span.parent_span_id {
        SpanId::INVALID => String::new(),
        parent => parent.to_string(),
    };
    let events = span.events.iter().map(|event| {
        json!({
            "timeUnixNano": nanos(event.timestamp), "name": event.name, "attributes": attributes(&event.attributes),
        })
    });
    json!({
        "traceId": span.span_context.trace_id().to_string(),
        "spanId": span.span_context.span_id().to_string(),
        "parentSpanId": parent,
        "name": span.name,
        "kind": kind(&span.span_kind),
        "startTimeUnixNano": nanos(span.start_time),
        "endTimeUnixNano": nanos(span.end_time),
        "attributes": attributes(&span.attributes),
        "events": events.collect::<Vec<_>>(),
        "status": {"code": match span.status { Status::Unset => 0, Status::Ok => 1, Status::Error { .. } => 2 }},
    })
}

fn attributes(pairs: &[KeyValue]) -> Vec<serde_json::Value> {
    let value = |value: &Value| match value {
        Value::Bool(value) => json!({"boolValue": value}),
        // 64 bits are text in this encoding.
        Value::I64(value) => json!({"intValue": value.to_string()}),
        Value::F64(value) => json!({"doubleValue": value}),
        other => json!({"stringValue": other.as_str()}),
    };
    pairs.iter().map(|pair| json!({"key": pair.key.as_str(), "value": value(&pair.value)})).collect()
}

fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
