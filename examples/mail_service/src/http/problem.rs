//! What went wrong, as the API says it (RFC 9457).

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use strongroom::{Error, ErrorKind};

/// An answer that is a refusal: a status and a sentence. The sentence is the store's own, which holds no secret, or this
/// service's.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    title: String,
    detail: String,
    retry_after: Option<Duration>,
}

impl Problem {
    /// A refusal of the service's own.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem").to_owned();
        Self { status, title, detail: detail.into(), retry_after: None }
    }

    /// Nobody has said who asks, or the session has ended.
    pub fn sign_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "sign in: the request needs a bearer token")
    }

    /// The request is wrong in itself.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// More was asked for at once than is answered.
    pub fn too_many() -> Self {
        let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests at once; wait for answers");
        Self { retry_after: Some(Duration::from_secs(1)), ..refused }
    }

    /// The same of a request that named the version it is about: a conflict is then a precondition that does not hold.
    pub fn of_conditional(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Conflict => Self { status: StatusCode::PRECONDITION_FAILED, ..error.into() },
            _ => error.into(),
        }
    }

    /// The status.
    #[cfg(test)]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// The store's errors, with its own sentences. Who may not, is told the same whether there is a tenant of that name or not.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(kind = %error.kind(), "a request has failed");
        }
        let (title, sentence) = (error.kind().to_string(), error.to_string());
        let detail = sentence.strip_prefix(&format!("{title}: ")).unwrap_or(&sentence).to_owned();
        Self { status, title, detail, retry_after: error.retry_after() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, title, detail, retry_after } = self;
        let body = json!({"type": "about:blank", "status": status.as_u16(), "title": title, "detail": detail});
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        if let Some(wait) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
        }
        response
    }
}
