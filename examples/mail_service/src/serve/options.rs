//! What the service is told when it begins.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Options of `mail_service serve`; each can be an environment variable.
#[derive(Debug, Args)]
pub struct Options {
    /// Where requests come in. Without TLS: put what ends TLS before it, on this machine.
    #[arg(long, env = "MAIL_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where health, readiness and metrics are asked for. Not for the public.
    #[arg(long, env = "MAIL_ADMIN", default_value = "127.0.0.1:8081")]
    pub admin: SocketAddr,
    /// The folder of the store.
    #[arg(long, env = "MAIL_DATA")]
    pub data: PathBuf,
    /// The folder of the service's root keys, elsewhere.
    #[arg(long, env = "MAIL_KEYS")]
    pub keys: PathBuf,
    /// The identity provider: the `iss` of its tokens.
    #[arg(long, env = "MAIL_ISSUER")]
    pub issuer: String,
    /// The `aud` of tokens for this service.
    #[arg(long, env = "MAIL_AUDIENCE", default_value = "mail")]
    pub audience: String,
    /// The tenant claim of the service's own custodians.
    #[arg(long, env = "MAIL_SERVICE_TENANT", default_value = "mail-service")]
    pub service_tenant: String,
    /// A file with the authority that the identity provider's certificate is from.
    #[arg(long, env = "MAIL_CA")]
    pub ca: PathBuf,
    /// The Unix socket at which custodians are served.
    #[arg(long, env = "MAIL_CUSTODY")]
    pub custody: Option<PathBuf>,
    /// An OpenBao to sign people in at with a password (`https://host:port`), for trying this service out.
    #[arg(long, env = "MAIL_SIGN_IN")]
    pub sign_in: Option<String>,
    /// The role of that OpenBao whose tokens are for this service.
    #[arg(long, env = "MAIL_SIGN_IN_ROLE", default_value = "mail")]
    pub sign_in_role: String,
    /// The collector of traces on this machine, if there is one (OTLP over HTTP).
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
    pub collector: Option<String>,
    /// How long a request may take, in seconds.
    #[arg(long, env = "MAIL_TIMEOUT_SECS", default_value_t = 30)]
    pub timeout_secs: u64,
    /// How long to go on after the order to end, in milliseconds, so that nobody sends requests any more.
    #[arg(long, env = "MAIL_NOTICE_MS", default_value_t = 1000)]
    pub notice_ms: u64,
    /// How long requests then have to be answered, in seconds.
    #[arg(long, env = "MAIL_DRAIN_SECS", default_value_t = 20)]
    pub drain_secs: u64,
}
