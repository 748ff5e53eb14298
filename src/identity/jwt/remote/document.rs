//! The discovery document of an issuer (OpenID Connect Discovery 1.0, section 3): of all that it says, where the keys are.

use std::collections::BTreeSet;

use ureq::http::Uri;

use super::super::json::Object;
use crate::error::{Error, Result};
use crate::https::Origin;

/// Reads where the keys are, if the document is that of `issuer` and they are at one of `origins`.
///
/// # Errors
/// `Invalid` with what is wrong.
pub(super) fn keys_address(document: &[u8], issuer: &str, origins: &BTreeSet<Origin>) -> Result<Uri> {
    let document = Object::parse(document)
        .map_err(|_| Error::invalid("it is not one JSON object in which no member occurs twice"))?;
    let text = |name| document.text(name).ok().flatten();
    // To the byte (section 4.3): a host that serves several issuers could else hand out the keys of another.
    if text("issuer") != Some(issuer) {
        return Err(Error::invalid("it is that of another issuer"));
    }
    let address = text("jwks_uri").filter(|address| !address.contains('#'));
    let address = address.and_then(|address| address.parse::<Uri>().ok());
    let address = address.ok_or_else(|| Error::invalid("it does not say where the keys are"))?;
    let origin = Origin::of("the address of the keys", &address, false)?;
    if !origins.contains(&origin) {
        return Err(Error::invalid("the keys are at a host that is not allowed"));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://id.example/a";

    fn origins() -> BTreeSet<Origin> {
        ["https://id.example", "https://keys.example:8443"]
            .map(|origin| Origin::parse("an origin", origin, false).unwrap())
            .into()
    }

    fn read(document: impl AsRef<[u8]>) -> Result<String, String> {
        let address = keys_address(document.as_ref(), ISSUER, &origins());
        address.map(|address| address.to_string()).map_err(|error| error.context().to_owned())
    }

    fn document(issuer: Value, jwks_uri: Value) -> String {
        json!({ "issuer": issuer, "jwks_uri": jwks_uri, "response_types_supported": ["code"], "claims_supported": [1] })
            .to_string()
    }

    #[test]
    fn the_keys_are_where_an_issuers_own_document_says_at_a_host_that_is_allowed() {
        for address in ["https://id.example/keys", "https://id.example:443/keys?v=2", "https://keys.example:8443/"] {
            assert_eq!(read(document(json!(ISSUER), json!(address))), Ok(address.to_owned()));
        }
        let other = Err("it is that of another issuer".to_owned());
        for issuer in
            ["https://id.example/a/", "https://id.example/A", "https://id.example", "", "https://id.example/b"]
        {
            assert_eq!(read(document(json!(issuer), json!("https://id.example/keys"))), other, "{issuer}");
        }
        for issuer in [json!(null), json!([ISSUER]), json!({})] {
            assert_eq!(read(document(issuer, json!("https://id.example/keys"))), other);
        }
        for address in [
            json!("http://id.example/keys"),
            json!("https://id.example:8443/keys"),
            json!("https://id.example.attacker.example/keys"),
            json!("https://id.example@attacker.example/keys"),
            json!("https://attacker.example/https://id.example/keys"),
            json!("https://169.254.169.254/latest"),
            json!("https://localhost/keys"),
            json!("file:///etc/passwd"),
            json!("//id.example/keys"),
            json!("/keys"),
            json!("id.example"),
            json!("https://id.example/keys#part"),
            json!("https://id.example/k eys"),
            json!("https:// id.example/keys"),
            json!(""),
            json!(["https://id.example/keys"]),
            json!(null),
        ] {
            assert!(read(document(json!(ISSUER), address.clone())).is_err(), "{address}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_not_read() {
        for text in [
            "",
            "null",
            "[]",
            "<html>",
            r#"{"issuer":"https://id.example/a"}"#,
            r#"{"jwks_uri":"https://id.example/keys"}"#,
            r#"{"issuer":"https://id.example/a","jwks_uri":"https://id.example/keys","jwks_uri":"https://id.example/b"}"#,
            r#"{"issuer":"https://id.example/b","issuer":"https://id.example/a","jwks_uri":"https://id.example/keys"}"#,
            r#"{"issuer":"https://id.example/a","jwks_uri":"https://id.example/keys"}x"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_anybody_writes_leads_elsewhere(text in ".{0,80}", garbage in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(read(garbage));
            for address in [text.clone(), format!("https://{text}"), format!("https://id.example{text}")] {
                if let Ok(found) = read(document(json!(ISSUER), json!(address))) {
                    let is_allowed = ["https://id.example/", "https://id.example:443/", "https://keys.example:8443/"]
                        .iter()
                        .any(|origin| found.starts_with(origin))
                        || found.starts_with("https://id.example?");
                    prop_assert!(is_allowed, "{}", found);
                }
            }
        }
    }
}
