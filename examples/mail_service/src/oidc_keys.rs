//! STAND-IN until the crate has its own key source.

use std::sync::{Arc, Mutex};

use strongroom::identity::{Jwks, KeySource};
use strongroom::{Error, ErrorKind, Result};

#[derive(Clone)]
pub struct OidcKeys(Arc<(String, ureq::Agent, Mutex<Option<Jwks>>)>);

pub struct Builder(String, Vec<u8>);

impl OidcKeys {
    pub fn discover(issuer: impl Into<String>) -> Builder {
        Builder(issuer.into(), vec![])
    }

    pub fn ready(&self) -> Result<()> {
        self.keys("", 0).map(drop)
    }
}

impl Builder {
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.1 = pem.into();
        self
    }

    pub fn build(self) -> Result<OidcKeys> {
        Ok(OidcKeys(Arc::new((self.0, crate::identity::agent(&self.1)?, Mutex::new(None)))))
    }
}

impl KeySource for OidcKeys {
    fn keys(&self, kid: &str, _: u64) -> Result<Jwks> {
        let (issuer, agent, cached) = &*self.0;
        let mut cached = cached.lock().unwrap();
        if let Some(keys) = &*cached
            && (kid.is_empty() || keys.contains(kid))
        {
            return Ok(keys.clone());
        }
        let failed = |_| Error::new(ErrorKind::Unavailable, "no keys");
        let mut response = agent.get(format!("{issuer}/.well-known/keys")).call().map_err(failed)?;
        let keys = Jwks::from_json(&response.body_mut().read_to_string().map_err(failed)?)?;
        *cached = Some(keys.clone());
        Ok(keys)
    }
}
