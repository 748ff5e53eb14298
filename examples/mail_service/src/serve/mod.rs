//! How the service begins, and how it ends.

mod connections;
mod options;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use strongroom::desk::DeskSocket;
use strongroom::{Clock, LocalRoots, Strongroom, SystemClock, aio};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use options::Options;

use crate::http::{self, App, Readiness, SignIn, Turns};
use crate::identity;
use crate::observe::Metrics;
use crate::store::Store;

/// Why the service does not begin.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the service is made of, ready to begin.
pub struct Setup {
    /// The store.
    pub room: Strongroom,
    /// The store's clock.
    pub clock: Arc<dyn Clock>,
    /// Where requests come in; port 0 for a free one.
    pub listen: SocketAddr,
    /// Where operators' programs ask.
    pub admin: SocketAddr,
    /// The socket of the custodians.
    pub custody: Option<std::path::PathBuf>,
    /// How people sign in.
    pub sign_in: Option<SignIn>,
    /// Whether requests should be sent here.
    pub readiness: Readiness,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long the service goes on after it was asked to end, so that nobody sends it requests any more.
    pub notice: Duration,
    /// How long requests that are being answered then have left.
    pub drain: Duration,
}

/// A service that serves.
pub struct Running {
    /// Where requests come in.
    pub address: SocketAddr,
    /// Where operators' programs ask.
    pub admin: SocketAddr,
    room: aio::Strongroom,
    readiness: Readiness,
    custody: Option<DeskSocket>,
    end: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
    notice: Duration,
    drain: Duration,
}

impl Setup {
    /// What the options say, with the store opened.
    ///
    /// # Errors
    /// Those of the store and of files that cannot be read.
    pub fn of(options: &Options) -> Result<Self, Failure> {
        let ca_pem = std::fs::read(&options.ca).map_err(|error| format!("{}: {error}", options.ca.display()))?;
        let (verifier, keys) = identity::verifier(&options.issuer, &options.audience, &ca_pem)?;
        let roots = LocalRoots::open_with_root(&options.keys, "service")?;
        let clock = SystemClock::new();
        let room = Strongroom::builder(&options.data, roots, verifier).clock(clock.clone());
        let room = room.service_speaker(&options.issuer, &options.service_tenant).open()?;
        let sign_in = options.sign_in.as_ref().map(|address| {
            let agent = identity::agent(&ca_pem)?;
            Ok::<_, strongroom::Error>(SignIn::new(agent, address, &options.sign_in_role))
        });
        Ok(Self {
            room,
            clock,
            listen: options.listen,
            admin: options.admin,
            custody: options.custody.clone(),
            sign_in: sign_in.transpose()?,
            readiness: Readiness::new(keys),
            timeout: Duration::from_secs(options.timeout_secs),
            notice: Duration::from_millis(options.notice_ms),
            drain: Duration::from_secs(options.drain_secs),
        })
    }

    /// Begins to serve.
    ///
    /// # Errors
    /// If an address is taken, or the socket's folder is open to others.
    pub async fn begin(self) -> Result<Running, Failure> {
        let Self { room, clock, listen, admin, custody, sign_in, readiness, timeout, notice, drain } = self;
        let custody = custody.map(|path| room.custody_desk().serve_unix(path)).transpose()?;
        let (public, private) = (TcpListener::bind(listen).await?, TcpListener::bind(admin).await?);
        let (address, admin) = (public.local_addr()?, private.local_addr()?);
        let metrics = Metrics::begin();
        let room = aio::Strongroom::new(room, aio::Limits::default());
        let store = Store::new(room.clone(), clock);
        let app = Arc::new(App {
            store,
            sign_in,
            turns: Turns::default(),
            readiness: readiness.clone(),
            metrics: metrics.clone(),
            timeout,
        });
        let (end, ended) = watch::channel(false);
        let listeners = vec![
            tokio::spawn(connections::serve(public, http::public(app.clone()), ended.clone(), drain)),
            tokio::spawn(connections::serve(private, http::admin(app), ended.clone(), drain)),
            tokio::spawn(tend(metrics, ended)),
        ];
        tracing::info!(%address, %admin, "serving");
        Ok(Running { address, admin, room, readiness, custody, end, listeners, notice, drain })
    }
}

impl Running {
    /// Ends in order: first nobody is sent here any more, then requests that are being answered are answered, then the
    /// store is closed.
    pub async fn end(self) {
        let Self { address: _, admin: _, room, readiness, custody, end, listeners, notice, drain } = self;
        tracing::info!("ending");
        readiness.end();
        tokio::time::sleep(notice).await;
        end.send_replace(true);
        for listener in listeners {
            // A little more than the connections have: they end by themselves.
            drop(tokio::time::timeout(drain + Duration::from_secs(1), listener).await);
        }
        // An act of a custodian is waited for.
        drop(tokio::task::spawn_blocking(move || drop(custody)).await);
        room.close().await;
        tracing::info!("ended");
    }
}

/// What has to be done every few seconds.
async fn tend(metrics: Metrics, mut ended: watch::Receiver<bool>) {
    let mut turns = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            _ = turns.tick() => metrics.tend(),
            _ = ended.wait_for(|ended| *ended) => return,
        }
    }
}
