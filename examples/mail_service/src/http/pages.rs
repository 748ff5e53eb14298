//! The page: three files, compiled in, so that what is served is what was tested.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::App;

/// The files, at their paths.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", include_str!("../../page/index.html"))))
        .route("/mail.js", get(async || file("text/javascript; charset=utf-8", include_str!("../../page/mail.js"))))
        .route("/mail.css", get(async || file("text/css; charset=utf-8", include_str!("../../page/mail.css"))))
        .route("/mail.svg", get(async || file("image/svg+xml", include_str!("../../page/mail.svg"))))
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text)
}
