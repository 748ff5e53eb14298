//! How a policy is written down: as its own bytes in what the store keeps, and in words in what people read and write.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::policy::Policy;
use crate::error::Error;
use crate::kms::RootId;

/// A policy in words: `{"any_of":[["a"],["b"]],"refresh_secs":300,"hard_expiry_secs":3600}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    any_of: Vec<Vec<RootId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovery: Option<Recovery>,
    #[serde(default = "refresh")]
    refresh_secs: u32,
    #[serde(default = "hard_expiry")]
    hard_expiry_secs: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recovery {
    root: RootId,
    limit_secs: u32,
}

fn refresh() -> u32 {
    Policy::REFRESH_SECS
}

fn hard_expiry() -> u32 {
    Policy::HARD_EXPIRY_SECS
}

impl From<&Policy> for Words {
    fn from(policy: &Policy) -> Self {
        let recovery = policy.recovery.clone().map(|root| Recovery { root, limit_secs: policy.recovery_limit_secs });
        Self {
            any_of: policy.alternatives.clone(),
            recovery,
            refresh_secs: policy.refresh_secs,
            hard_expiry_secs: policy.hard_expiry_secs,
        }
    }
}

impl TryFrom<Words> for Policy {
    type Error = Error;

    fn try_from(words: Words) -> Result<Self, Error> {
        let Words { any_of, recovery, refresh_secs, hard_expiry_secs } = words;
        let any_of = any_of.into_iter().map(|roots| roots.into_iter().map(|root| root.as_str().to_owned()));
        let mut policy = Self::any_of(any_of)?;
        if let Some(Recovery { root, limit_secs }) = recovery {
            (policy.recovery, policy.recovery_limit_secs) = (Some(root), limit_secs);
        }
        (policy.refresh_secs, policy.hard_expiry_secs) = (refresh_secs, hard_expiry_secs);
        policy.checked()
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => Words::from(self).serialize(serializer),
            false => self.encode().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => Self::try_from(Words::deserialize(deserializer)?).map_err(de::Error::custom),
            false => Self::decode(&Vec::deserialize(deserializer)?).ok_or_else(|| de::Error::custom("not a policy")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_policy_in_words_is_read_again_as_the_same() {
        let policy = Policy::any_of([vec!["b"], vec!["a", "c"]]).unwrap();
        let policy = policy.recovery_root("d", Duration::from_secs(60)).unwrap();
        let words = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&words).unwrap(), policy, "{words}");
        let short: Policy = serde_json::from_str(r#"{"any_of":[["a","c"],["b"]]}"#).unwrap();
        assert_eq!(
            short,
            Policy::any_of([vec!["b"], vec!["a", "c"]]).unwrap(),
            "with what is so unless said otherwise"
        );
        let hostile = [
            r#"{"any_of":[]}"#,
            r#"{"any_of":[[]]}"#,
            r#"{"any_of":[["A"]]}"#,
            r#"{"any_of":[["a"],["a"]]}"#,
            r#"{"any_of":[["a"]],"refresh_secs":0}"#,
            r#"{"any_of":[["a"]],"more":1}"#,
            r#"{"any_of":[["a"]],"recovery":{"root":"a","limit_secs":1}}"#,
            r#"{"any_of":[["a"],["b"],["c"],["d"],["e"]]}"#,
        ];
        for words in hostile {
            assert!(serde_json::from_str::<Policy>(words).is_err(), "{words}");
        }
    }
}
