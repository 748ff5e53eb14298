//! What an operator sees: logs, metrics, traces. Of none of them is a token, a password, a word of mail, a search, or the
//! name of a tenant that has not let the caller in.

mod logs;
mod metrics;
mod otlp;
mod traces;

pub use logs::{Observed, begin, quiet_panics};
pub use metrics::{Metrics, request_done};
pub use otlp::Collector;
pub use traces::continue_trace;
