//! How the keys of an issuer are to be fetched: everything that is talked to, and for how long an answer counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::Uri;

use super::OidcKeys;
use super::cache::{Bounds, Cache};
use super::fetch::{Fetcher, PATIENCE};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::https::{self, Authorities, Origin};

/// How the keys of an issuer are fetched. See [`OidcKeys::discover`].
#[must_use = "a builder does nothing until it builds"]
#[derive(Clone)]
pub struct OidcKeysBuilder {
    /// What the discovery document must say of itself.
    issuer: String,
    /// Where that document is, below what.
    base: String,
    /// The whole path of that, where nothing but a host was to be said.
    path: Option<&'static str>,
    ca_pem: Option<Vec<u8>>,
    hosts: Vec<String>,
    bounds: Bounds,
    clock: Arc<dyn Clock>,
}

impl OidcKeysBuilder {
    pub(super) fn of_issuer(issuer: String) -> Self {
        // A slash at the end is part of the issuer, and not of the address (OpenID Connect Discovery 1.0, section 4.1).
        let base = issuer.strip_suffix('/').unwrap_or(&issuer).to_owned();
        Self::new(issuer, base, None)
    }

    /// One document for all tenants, whose issuer is a template.
    pub(super) fn of_entra(authority: String) -> Self {
        const PATH: &str = "/common/v2.0";
        Self::new(format!("{authority}/{{tenantid}}/v2.0"), format!("{authority}{PATH}"), Some(PATH))
    }

    fn new(issuer: String, base: String, path: Option<&'static str>) -> Self {
        let (ca_pem, hosts) = (None, Vec::new());
        Self { issuer, base, path, ca_pem, hosts, bounds: Bounds::default(), clock: SystemClock::new() }
    }

    /// The certificates, in PEM, of the authorities that may vouch for the issuer's hosts, in the place of the public ones:
    /// for an issuer inside a company. The public ones are those of Mozilla, as they were when the crate `webpki-roots` was
    /// released.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Names a host (`host` or `host:port`) beside the issuer's own at which the keys may lie. May be called several times.
    /// A discovery document that points anywhere else is refused.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// How long a set of keys counts, and so the longest that a key is accepted after the issuer has taken it out: ten
    /// seconds to 24 hours, and at least twice the cool-down. The default is five minutes.
    pub fn refresh(mut self, span: Duration) -> Self {
        self.bounds.refresh = span;
        self
    }

    /// How long a set of keys counts while the issuer cannot be asked for another: from `refresh`, which is as good as not at
    /// all, to seven days. The default is one hour. It is also for how long somebody who keeps us from the issuer keeps a
    /// key alive.
    pub fn stale_limit(mut self, span: Duration) -> Self {
        self.bounds.stale_limit = span;
        self
    }

    /// How long the issuer is left alone after each attempt to ask it, whatever came of it: one second to one hour. It is
    /// also the longest that a token with a new key is refused. The default is 30 seconds.
    pub fn cool_down(mut self, span: Duration) -> Self {
        self.bounds.cool_down = span;
        self
    }

    /// The clock whose monotonic side times are held to (their wall side is the store's); that of the operating system unless
    /// said otherwise.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The keys. Nothing is asked yet: see [`OidcKeys::ready`].
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for an issuer that is not `https://host[:port][/path]`, an authority of Entra
    /// ID that is not `https://host[:port]`, a host that is none, certificates that are not in PEM, and times out of bounds.
    pub fn build(self) -> Result<OidcKeys> {
        let Self { issuer, base, path, ca_pem, hosts, bounds, clock } = self;
        check(&bounds)?;
        let own = origin_of(&base, path)?;
        let mut origins = BTreeSet::from([own]);
        for host in hosts {
            origins.insert(Origin::parse("a host of an issuer's keys", &format!("https://{host}"), false)?);
        }
        let authorities = ca_pem.map_or(Ok(Authorities::Public), |pem| Authorities::from_pem(&pem))?;
        let fetcher = Fetcher {
            agent: https::agent(authorities, true),
            issuer: issuer.clone(),
            document: format!("{base}/.well-known/openid-configuration"),
            origins: origins.clone(),
            clock: clock.clone(),
        };
        let cache = Arc::new(Cache::new(issuer, bounds, clock, Box::new(move || fetcher.fetch())));
        Ok(OidcKeys { cache, origins: origins.into_iter().collect() })
    }
}

/// Where an issuer is, or the document of Entra ID, whose whole path is known.
fn origin_of(base: &str, path: Option<&str>) -> Result<Origin> {
    let uri: Uri = base.parse().map_err(|_| Error::invalid("an issuer is no URL"))?;
    let is_bare = uri.query().is_none() && !base.contains('#') && !base.ends_with('/');
    if !is_bare || uri.path().split('/').any(|part| part == "." || part == "..") {
        return Err(Error::invalid("an issuer is https://host[:port][/path], and no more"));
    }
    if path.is_some_and(|path| uri.path() != path) {
        return Err(Error::invalid("an authority of Entra ID is https://host[:port], and no more"));
    }
    Origin::of("an issuer", &uri, false)
}

fn check(bounds: &Bounds) -> Result<()> {
    let Bounds { refresh, stale_limit, cool_down } = *bounds;
    if !(Duration::from_secs(1)..=HOUR).contains(&cool_down) {
        return Err(Error::invalid("an issuer is left alone for one second to one hour"));
    }
    // What is renewed from the half of its time on must have come by its end.
    if refresh < 2 * cool_down.max(PATIENCE) || refresh > 24 * HOUR {
        return Err(Error::invalid("keys count for ten seconds to 24 hours, and at least twice the cool-down"));
    }
    if !(refresh..=7 * 24 * HOUR).contains(&stale_limit) {
        return Err(Error::invalid("keys that cannot be renewed count for as long as others to seven days"));
    }
    Ok(())
}

impl std::fmt::Debug for OidcKeysBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { issuer, hosts, bounds, .. } = self;
        f.debug_struct("OidcKeysBuilder")
            .field("issuer", issuer)
            .field("hosts", hosts)
            .field("bounds", bounds)
            .finish_non_exhaustive()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::identity::{Entra, JwtVerifier, KeySource, Oidc};

    fn good() -> OidcKeysBuilder {
        OidcKeys::discover("https://id.example/realms/a")
    }

    #[test]
    fn what_cannot_be_meant_is_not_built() {
        let built = |builder: OidcKeysBuilder| builder.build().map(|_| ()).map_err(|error| error.kind());
        let secs = Duration::from_secs;
        let sound = [
            ("the control", good()),
            ("a port", OidcKeys::discover("https://id.example:8443")),
            ("a slash at the end", OidcKeys::discover("https://tenant.id.example/")),
            ("the shortest", good().cool_down(secs(1)).refresh(secs(10)).stale_limit(secs(10))),
            ("the longest", good().cool_down(HOUR).refresh(24 * HOUR).stale_limit(168 * HOUR)),
            ("Entra ID", OidcKeys::entra()),
            ("another cloud", OidcKeys::entra_at("https://login.microsoftonline.us")),
            ("a host with a port", good().allow_host("keys.example:8443")),
        ];
        for (what, builder) in sound {
            assert_eq!(built(builder), Ok(()), "{what}");
        }
        let unsound = [
            ("no URL", OidcKeys::discover("id example")),
            ("no scheme", OidcKeys::discover("id.example")),
            ("plain http", OidcKeys::discover("http://id.example")),
            ("plain http on loopback", OidcKeys::discover("http://127.0.0.1:8200")),
            ("a query", OidcKeys::discover("https://id.example/?a=b")),
            ("a fragment", OidcKeys::discover("https://id.example/#a")),
            ("two slashes at the end", OidcKeys::discover("https://id.example//")),
            ("a way up", OidcKeys::discover("https://id.example/a/../b")),
            ("somebody who asks", OidcKeys::discover("https://a:b@id.example")),
            ("plain http to Entra ID", OidcKeys::entra_at("http://login.microsoftonline.us")),
            ("an authority with a query", OidcKeys::entra_at("https://login.example?")),
            ("an authority with a slash at its end", OidcKeys::entra_at("https://login.example/")),
            ("an authority with a path", OidcKeys::entra_at("https://login.example/common")),
            ("an empty host", good().allow_host("")),
            ("a host with a path", good().allow_host("keys.example/keys")),
            ("a host with a scheme", good().allow_host("https://keys.example")),
            ("no certificate", good().ca_pem("certificate")),
            ("no cool-down", good().cool_down(Duration::ZERO)),
            ("a long cool-down", good().cool_down(HOUR + secs(1)).refresh(24 * HOUR)),
            ("a short refresh", good().cool_down(secs(1)).refresh(secs(9))),
            ("a cool-down longer than half of it", good().cool_down(secs(30)).refresh(secs(59))),
            ("a long refresh", good().refresh(24 * HOUR + secs(1)).stale_limit(48 * HOUR)),
            ("a short limit", good().stale_limit(secs(299))),
            ("a long limit", good().stale_limit(169 * HOUR)),
        ];
        for (what, builder) in unsound {
            assert_eq!(built(builder), Err(ErrorKind::Invalid), "{what}");
        }
    }

    #[test]
    fn nobodys_keys_are_taken_for_anothers() {
        let built = |issuer: &str| {
            let verifier = JwtVerifier::builder().oidc(Oidc::new(issuer, "mail"), good().build().unwrap());
            verifier.build().map(drop).map_err(|error| error.kind())
        };
        assert_eq!(built("https://id.example/realms/a"), Ok(()), "the control");
        for other in ["https://id.example/realms/b", "https://id.example/realms/a/", "https://other.example"] {
            assert_eq!(built(other), Err(ErrorKind::Invalid), "{other}");
        }
        // Each of these says itself whose it is.
        let entra = JwtVerifier::builder().entra(Entra::new("mail"), OidcKeys::entra().build().unwrap());
        assert!(entra.build().is_ok());
    }

    #[test]
    fn every_host_is_listed() {
        let keys = good().allow_host("keys.example").allow_host("id.example").build().unwrap();
        let hosts: Vec<_> = keys.connections().into_iter().map(|to| (to.host, to.port, to.is_tls)).collect();
        assert_eq!(hosts, [("id.example".to_owned(), 443, true), ("keys.example".to_owned(), 443, true)]);
        let [entra] = &OidcKeys::entra().build().unwrap().connections()[..] else { panic!("one host") };
        assert_eq!(entra.host, "login.microsoftonline.com");
    }
}
