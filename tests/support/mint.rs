//! A token mint: issuers with real keys, for tests and the demo. Whatever is asked of it, it signs.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Somebody who signs tokens with one key.
pub struct Issuer {
    url: String,
    kid: String,
    key: SigningKey,
}

enum SigningKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Issuer {
    /// An issuer with a new Ed25519 key; signs with `EdDSA`.
    pub fn ed25519(url: impl Into<String>, kid: impl Into<String>) -> Self {
        let key = SigningKey::Ed25519(Ed25519KeyPair::generate().expect("a generated key"));
        Self { url: url.into(), kid: kid.into(), key }
    }

    /// An issuer with a new P-256 key; signs with `ES256`.
    pub fn es256(url: impl Into<String>, kid: impl Into<String>) -> Self {
        let key = SigningKey::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a generated key"));
        Self { url: url.into(), kid: kid.into(), key }
    }

    /// An issuer with a new RSA key of 2048 bits; signs with `RS256`, and with `PS256` where a header says so. Making
    /// the key takes a good part of a second: keep it.
    pub fn rs256(url: impl Into<String>, kid: impl Into<String>) -> Self {
        let key = SigningKey::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a generated key"));
        Self { url: url.into(), kid: kid.into(), key }
    }

    /// A signed token of type `JWT` with these claims. `iss` is the issuer's own unless `claims` has one.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with_header(&self.header(), claims)
    }

    /// The same with another header. What it says is not checked.
    pub fn token_with_header(&self, header: &Value, claims: &Value) -> String {
        let mut claims = claims.clone();
        if let Some(members) = claims.as_object_mut() {
            members.entry("iss").or_insert_with(|| json!(self.url));
        }
        self.sign(header.to_string(), claims.to_string())
    }

    /// The header that [`token`](Self::token) uses.
    pub fn header(&self) -> Value {
        json!({ "alg": self.alg(), "kid": self.kid, "typ": "JWT" })
    }

    /// Signs any two texts, well-formed or not. With an RSA key, `PS256` if the header mentions it, else `RS256`.
    pub fn sign(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let (header, payload) = (header.as_ref(), payload.as_ref());
        let pss = header.windows(5).any(|text| text == b"PS256");
        let message = format!("{}.{}", encode(header), encode(payload));
        let signature = self.signature(message.as_bytes(), pss);
        format!("{message}.{}", encode(signature))
    }

    /// The set of this issuer's one public key, as JSON.
    pub fn jwks_json(&self) -> String {
        jwks_json([self.jwk()])
    }

    /// This issuer's public key as a JWK, to be changed at will.
    pub fn jwk(&self) -> Value {
        let mut jwk = json!({ "kid": self.kid, "use": "sig", "alg": self.alg() });
        let mut set = |name: &str, value: &str| jwk[name] = json!(value);
        match &self.key {
            SigningKey::Ed25519(pair) => {
                set("kty", "OKP");
                set("crv", "Ed25519");
                set("x", &encode(pair.public_key()));
            }
            SigningKey::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                set("kty", "EC");
                set("crv", "P-256");
                set("x", &encode(x));
                set("y", &encode(y));
            }
            SigningKey::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                set("kty", "RSA");
                set("n", &encode(public.n));
                set("e", &encode(public.e));
            }
        }
        jwk
    }

    fn alg(&self) -> &'static str {
        match &self.key {
            SigningKey::Ed25519(_) => "EdDSA",
            SigningKey::P256(_) => "ES256",
            SigningKey::Rsa(_) => "RS256",
        }
    }

    fn signature(&self, message: &[u8], pss: bool) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            SigningKey::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            SigningKey::P256(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            SigningKey::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding = if pss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).expect("a signature");
                signature
            }
        }
    }
}

/// A JWK set of these keys, as JSON.
pub fn jwks_json(keys: impl IntoIterator<Item = Value>) -> String {
    json!({ "keys": keys.into_iter().collect::<Vec<_>>() }).to_string()
}

/// Base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
