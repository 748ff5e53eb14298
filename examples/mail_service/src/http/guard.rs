//! What holds for every request: it is counted, traced, bounded in time, and answered with careful headers.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, Span, field};

use super::App;
use super::problem::Problem;
use crate::observe;

/// Scripts and styles of the service's own, answers of the service's own, and nothing else: whatever a message holds, it
/// runs nothing and loads nothing.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Wraps every handler.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = method_of(&request);
    let span = span(method, &route, request.headers());
    let begun_ms = app.store.clock().monotonic_ms();
    let answered = tokio::time::timeout(app.timeout, next.run(request)).instrument(span.clone()).await;
    let response = answered.unwrap_or_else(|_| {
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "the request took too long; read before writing again")
            .into_response()
    });
    let took_ms = app.store.clock().monotonic_ms().saturating_sub(begun_ms);
    let status = response.status();
    observe::request_done(method, &route, status.as_u16(), took_ms);
    span.record("status", status.as_u16());
    span.in_scope(|| tracing::info!(took_ms, "answered"));
    finish(response)
}

/// Without the path and its query: they hold names and searches. The tenant is recorded once it has let the caller in.
fn span(method: &'static str, route: &str, headers: &HeaderMap) -> Span {
    let name = format!("{method} {route}");
    let span = tracing::info_span!(
        "request",
        otel.name = name,
        otel.kind = "server",
        method,
        route,
        status = field::Empty,
        tenant = field::Empty
    );
    observe::continue_trace(&span, headers);
    span
}

/// The methods that there are, so that nobody fills the metrics with others.
fn method_of(request: &Request) -> &'static str {
    let known = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"];
    known.into_iter().find(|known| request.method() == *known).unwrap_or("other")
}

fn finish(response: Response) -> Response {
    let mut response = as_problem(response);
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Refusals of the framework (no such path, another method, a body that is too long) look like the service's own.
fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the body is longer than this path takes",
        StatusCode::METHOD_NOT_ALLOWED => "there is another method for this path",
        StatusCode::NOT_FOUND => "there is no such path",
        _ => "the request is not as it should be",
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut problem = Problem::new(status, detail).into_response();
    if let Some(allow) = allow {
        problem.headers_mut().insert(header::ALLOW, allow);
    }
    problem
}
