//! Entity tags (RFC 9110, section 8.8.3): a record's version, in quotes.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use strongroom::Version;

use super::problem::Problem;

/// What a request says of the version that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Nothing.
    Unsaid,
    /// `*`: whichever there is.
    Any,
    /// This one.
    Version(Version),
}

/// The tag of a version.
pub fn tag(version: Version) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes")
}

impl IfMatch {
    /// What `If-Match` says.
    ///
    /// # Errors
    /// 400 for a list of tags, which no client of this service needs; 412 for a tag that is none of this service's: no
    /// record is of that version.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        match one(headers, &header::IF_MATCH)? {
            None => Ok(Self::Unsaid),
            Some("*") => Ok(Self::Any),
            Some(tag) => parse(tag).map(Self::Version).ok_or_else(|| {
                Problem::new(StatusCode::PRECONDITION_FAILED, "If-Match names no version of this message")
            }),
        }
    }

    /// The version, if one is named.
    pub fn version(self) -> Option<Version> {
        match self {
            Self::Version(version) => Some(version),
            Self::Unsaid | Self::Any => None,
        }
    }
}

/// Whether `If-None-Match` says that the client has this version already.
pub fn is_known(headers: &HeaderMap, version: Version) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    // Compared weakly (section 13.1.2).
    tags.any(|tag| tag == "*" || parse(tag.trim_start_matches("W/")) == Some(version))
}

fn parse(tag: &str) -> Option<Version> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(HeaderValue::to_str).transpose();
    match (value, values.next()) {
        (Ok(value), None) if value.is_none_or(|value| !value.contains(',')) => Ok(value.map(str::trim)),
        _ => Err(Problem::bad_request(format!("one {name} with one entity tag"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.clone(), value.parse().unwrap())])
    }

    #[test]
    fn a_version_goes_out_as_a_tag_and_comes_back() {
        let text = "ab".repeat(24);
        let version: Version = text.parse().unwrap();
        let tag = tag(version);
        let read = |value: &str| IfMatch::of(&headers(&header::IF_MATCH, value));
        assert_eq!(read(tag.to_str().unwrap()).unwrap(), IfMatch::Version(version));
        assert_eq!(read("*").unwrap(), IfMatch::Any);
        assert_eq!(IfMatch::of(&HeaderMap::new()).unwrap(), IfMatch::Unsaid);
        for other in [&*text, "\"\"", "W/\"x\"", &format!("W/\"{text}\"")] {
            assert_eq!(read(other).unwrap_err().status(), StatusCode::PRECONDITION_FAILED, "{other}");
        }
        assert_eq!(read("\"a\", \"b\"").unwrap_err().status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn what_a_client_has_already_it_is_not_sent_again() {
        let version: Version = "ab".repeat(24).parse().unwrap();
        let known = |value: &str| is_known(&headers(&header::IF_NONE_MATCH, value), version);
        let tag = format!("\"{version}\"");
        assert!(known(&tag) && known("*") && known(&format!("\"x\", W/{tag}")));
        assert!(!known("\"x\"") && !is_known(&HeaderMap::new(), version));
    }
}
