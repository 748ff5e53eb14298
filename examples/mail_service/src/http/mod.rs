//! The service over HTTP: which path leads where, and what holds for all of them.

mod bearer;
mod etag;
mod folders;
mod guard;
mod imports;
mod messages;
mod pages;
mod probes;
mod problem;
mod signin;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post, put};

pub use probes::Readiness;
pub use signin::SignIn;
pub use turns::Turns;

use crate::letter::MESSAGE_MAX_LEN;
use crate::observe::Metrics;
use crate::store::Store;

/// The longest body of a request that is not a message: 256 KiB.
const BODY_MAX_LEN: usize = 256 << 10;

/// What the handlers share.
pub struct App {
    /// The mailboxes.
    pub store: Store,
    /// How people sign in; `None` if they bring their tokens.
    pub sign_in: Option<SignIn>,
    /// Who is next.
    pub turns: Turns,
    /// Whether requests should be sent here.
    pub readiness: Readiness,
    /// What is counted.
    pub metrics: Metrics,
    /// How long a request may take.
    pub timeout: Duration,
}

/// The API and the page.
pub fn public(app: Arc<App>) -> Router {
    let messages = "/t/{tenant}/folders/{folder}/messages";
    let message = format!("{messages}/{{id}}");
    let api = Router::new()
        .route("/me", get(folders::me))
        .route("/t/{tenant}/folders", get(folders::list))
        .route("/t/{tenant}/folders/{folder}", put(folders::make))
        .route("/t/{tenant}/send", post(messages::send))
        .route(messages, get(messages::list).post(messages::post))
        .route(&message, get(messages::read).patch(messages::mark).delete(messages::delete))
        .route(&format!("{message}/raw"), get(messages::raw))
        .route(&format!("{message}/attachments/{{number}}"), get(messages::attachment))
        .route(&format!("{message}/move"), post(messages::move_to))
        .layer(DefaultBodyLimit::max(BODY_MAX_LEN));
    let imports = Router::new()
        .route("/t/{tenant}/imports/{digest}", get(imports::look).put(imports::put))
        .layer(DefaultBodyLimit::max(MESSAGE_MAX_LEN));
    Router::new()
        .merge(api)
        .merge(imports)
        .merge(pages::routes())
        .route("/signin", post(signin::post).layer(DefaultBodyLimit::max(4 << 10)))
        .merge(probes::routes())
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}

/// What operators and their programs ask. Not for the public: it listens elsewhere.
pub fn admin(app: Arc<App>) -> Router {
    Router::new().merge(probes::routes()).route("/metrics", get(probes::metrics)).with_state(app)
}

/// Everything but unreserved characters as `%xx` (RFC 3986, section 2.1; RFC 8187, section 3.2).
#[must_use]
pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
