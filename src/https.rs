//! How this crate speaks to a host elsewhere: to hosts that were named, over TLS, without proxies or redirects, reading a
//! bounded answer.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Response, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// A host and a port, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
}

/// Who may vouch for a host.
pub(crate) enum Authorities {
    /// Nobody: for hosts that are spoken to without TLS.
    #[cfg(feature = "transit")]
    Nobody,
    /// Those of these certificates, and no others.
    Named(RootCerts),
    /// The public ones that browsers trust, as they were when this was compiled.
    #[cfg(feature = "oidc")]
    Public,
}

impl Authorities {
    /// Reads certificates in PEM.
    ///
    /// # Errors
    /// `Invalid` if there is none, or something that is none.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self> {
        let unreadable = || Error::invalid("the certificates of an authority are not in PEM");
        let items = parse_pem(pem).collect::<Result<Vec<_>, _>>().map_err(|_| unreadable())?;
        let certificates: Vec<_> = items
            .into_iter()
            .filter_map(|item| if let PemItem::Certificate(certificate) = item { Some(certificate) } else { None })
            .collect();
        if certificates.is_empty() {
            return Err(unreadable());
        }
        Ok(Self::Named(RootCerts::new_with_certs(&certificates)))
    }
}

impl Origin {
    /// Reads `https://host[:port]`, or `http://` with a loopback address if that was asked for. `what` is what errors
    /// call it.
    pub(crate) fn parse(what: &str, text: &str, is_plain_allowed: bool) -> Result<Self> {
        let uri: Uri = text.parse().map_err(|_| Error::invalid(format!("{what} is no URL")))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
            return Err(Error::invalid(format!("{what} is https://host or https://host:port, and no more")));
        }
        Self::of(what, &uri, is_plain_allowed)
    }

    /// Where `uri` leads.
    pub(crate) fn of(what: &str, uri: &Uri, is_plain_allowed: bool) -> Result<Self> {
        let authority = uri.authority().ok_or_else(|| Error::invalid(format!("{what} names no host")))?;
        let host = authority.host().to_owned();
        // Nobody who asks (`somebody@host`), no empty port, no port in another spelling.
        let spelling = authority.port_u16().map_or(host.clone(), |port| format!("{host}:{port}"));
        if host.is_empty() || authority.as_str() != spelling {
            return Err(Error::invalid(format!("{what} names a host, and a port if it must, and no more")));
        }
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_plain_allowed && is_loopback(&host) => false,
            _ => return Err(Error::invalid(format!("{what} begins with https://"))),
        };
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { host, port, is_tls })
    }
}

/// By address only: what a name means is for others to say.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A client of hosts for which `authorities` vouch. Every request needs a deadline of its own.
pub(crate) fn agent(authorities: Authorities, is_tls_only: bool) -> Agent {
    // Named, so that no default of the process is looked for, and none is set.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = match authorities {
        #[cfg(feature = "transit")]
        Authorities::Nobody => RootCerts::new_with_certs(&[]),
        Authorities::Named(certificates) => certificates,
        #[cfg(feature = "oidc")]
        Authorities::Public => RootCerts::WebPki,
    };
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(roots).build();
    let config = Agent::config_builder()
        .https_only(is_tls_only)
        .http_status_as_error(false)
        // An answer that sends us elsewhere is no answer: we talk to the host that was named, and no other.
        .max_redirects(0)
        // Not even by way of what the environment names.
        .proxy(None)
        .no_delay(true)
        .user_agent("strongroom")
        .accept_encoding("identity")
        .max_idle_age(Duration::from_secs(10))
        .tls_config(tls)
        .build();
    config.new_agent()
}

/// The body of an answer, of at most `length_max` bytes, in memory that is wiped.
pub(crate) fn read_body(response: &mut Response<Body>, length_max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it, so that no copy is left behind by growing.
    let mut body = Zeroizing::new(Vec::with_capacity(length_max + 1));
    response.body_mut().as_reader().take(length_max as u64 + 1).read_to_end(&mut body)?;
    if body.len() > length_max {
        return Err(io::Error::other("the answer is longer than any that is read"));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn an_origin_is_a_host_over_tls_or_a_loopback_address_that_was_asked_for() {
        let origin = |host: &str, port, is_tls| Origin { host: host.to_owned(), port, is_tls };
        let parse = |text: &str, is_plain_allowed| Origin::parse("an address", text, is_plain_allowed);
        assert_eq!(parse("https://vault.example", false).unwrap(), origin("vault.example", 443, true));
        assert_eq!(parse("https://vault.example:8200/", false).unwrap(), origin("vault.example", 8200, true));
        assert_eq!(parse("https://[::1]:8200", false).unwrap(), origin("[::1]", 8200, true));
        for host in ["127.0.0.1", "127.8.8.8", "[::1]"] {
            assert_eq!(parse(&format!("http://{host}:82"), true).unwrap(), origin(host, 82, false));
        }
        let refused = [
            ("http://127.0.0.1", false),
            ("http://vault.example", true),
            ("http://localhost", true),
            ("http://127.0.0.1.example", true),
            ("http://0.0.0.0", true),
            ("ftp://vault.example", true),
            ("vault.example", true),
            ("https://", true),
            ("https://somebody@vault.example", false),
            ("https://vault.example:", false),
            ("https://vault.example:08200", false),
            ("https://vault.example:65536", false),
            ("https://:443", false),
            ("https://vault.example/v1", false),
            ("https://vault.example/?a=b", false),
            ("https://vault.example#a", false),
        ];
        for (text, is_plain_allowed) in refused {
            assert_eq!(parse(text, is_plain_allowed).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_no_authority() {
        for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            assert!(Authorities::from_pem(pem.as_bytes()).is_err_and(|error| error.kind() == ErrorKind::Invalid));
        }
    }
}
