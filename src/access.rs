//! From claims to a verified identity: the one constructor, and the one comparison of tenants.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::audit::Actor;
use crate::clock::{Clock, Deadline};
use crate::directory::{Person, Speaker};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{Claims, Rejection, SubjectKind, Verifier};

/// The longest that anything done with one credential lasts, however long the credential does.
pub(crate) const SESSION_MAX: Duration = Duration::from_secs(3600);

/// What a role or scope is called in a credential.
const RIGHTS: [(&str, Right); 6] = [
    ("strongroom.read", Right::Read),
    ("strongroom.write", Right::Write),
    ("strongroom.custodian", Right::Custodian),
    ("strongroom.approver", Right::Approver),
    ("strongroom.operator", Right::Operator),
    ("strongroom.auditor", Right::Auditor),
];

/// Somebody whose credential has been verified, with what they may do and until when. Only verifying makes one.
///
/// It cannot be made by hand:
/// ```compile_fail,E0451
/// fn forge(subject: String) -> strongroom::VerifiedIdentity {
///     strongroom::VerifiedIdentity { subject }
/// }
/// ```
/// and is only lent by the session that it opened:
/// ```
/// fn who(session: &strongroom::Session) -> &strongroom::VerifiedIdentity {
///     session.identity()
/// }
/// ```
#[derive(Debug)]
pub struct VerifiedIdentity {
    speaker: Speaker,
    subject: String,
    subject_kind: SubjectKind,
    rights: BTreeSet<Right>,
    deadline: Deadline,
}

/// What an identity may do. Reading and writing can be granted by a role or by a scope; everything else by a role
/// only, because a scope that a user can consent to makes no custodian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    Read,
    Write,
    Custodian,
    Approver,
    Operator,
    Auditor,
}

/// Verifies a credential. The reason of a refusal goes to the event log and the audit trail, and never to the caller: see
/// [`refuse`].
pub(crate) fn verify(
    verifier: &dyn Verifier,
    credential: &str,
    clock: &dyn Clock,
) -> Result<VerifiedIdentity, Rejection> {
    let now_secs = clock.wall_ms() / 1000;
    let claims = verifier.verify(credential, now_secs)?;
    VerifiedIdentity::admit(claims, clock)
}

impl VerifiedIdentity {
    /// The issuer that vouches for this identity, and the tenant it vouches for.
    #[must_use]
    pub fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// Who it is, in the issuer's words.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What the subject is, as far as its issuer says: a person, or a program that acts for itself.
    #[must_use]
    pub fn subject_kind(&self) -> SubjectKind {
        self.subject_kind
    }

    /// Whether the credential allows its bearer to read records: for a page that shows what somebody may do. Whether the
    /// tenant lets anybody in is asked at every step.
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.rights.contains(&Right::Read)
    }

    /// Whether the credential allows its bearer to write records, in the same way.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.rights.contains(&Right::Write)
    }

    /// From this second since 1970 on nothing more is done with this identity. The store's monotonic clock may end it
    /// sooner.
    #[must_use]
    pub fn ends_at_secs(&self) -> u64 {
        self.deadline.wall_ms() / 1000
    }

    /// Who it is, for what is written down of an act: as whom the audit trail knows it.
    pub(crate) fn actor(&self) -> Actor {
        Actor::person(&self.speaker.issuer, &self.speaker.tenant, &self.subject)
    }

    pub(crate) fn person(&self) -> Person {
        let Speaker { issuer, tenant } = self.speaker.clone();
        Person { issuer, tenant, subject: self.subject.clone() }
    }

    /// Checks that a tenant lists this identity's issuer *and* tenant claim, as one pair.
    pub(crate) fn check_speaks_for(&self, speakers: &[Speaker]) -> Result<()> {
        if speakers.contains(&self.speaker) {
            return Ok(());
        }
        tracing::info!("a credential was presented for a tenant that it does not speak for");
        metrics::counter!("strongroom_credentials_refused_total").increment(1);
        Err(Error::denied())
    }

    pub(crate) fn check_right(&self, right: Right) -> Result<()> {
        if self.rights.contains(&right) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Denied, "the credential does not allow this"))
    }

    pub(crate) fn check_deadline(&self, clock: &dyn Clock) -> Result<()> {
        if self.deadline.has_passed(clock) {
            return Err(Error::new(ErrorKind::Closed, "the session has ended; sign in again"));
        }
        Ok(())
    }

    /// The one constructor. Checks again what a verifier must have checked, because anyone can write a verifier.
    fn admit(claims: Claims, clock: &dyn Clock) -> Result<Self, Rejection> {
        let Claims { issuer, tenant, subject, subject_kind, expires_at_secs, roles, scopes } = claims;
        if issuer.is_empty() || tenant.is_empty() || subject.is_empty() {
            return Err(Rejection::TenantMissing);
        }
        let left_ms = expires_at_secs.saturating_mul(1000).checked_sub(clock.wall_ms()).filter(|&left| left > 0);
        let left = Duration::from_millis(left_ms.ok_or(Rejection::Expired)?);
        let deadline = Deadline::after(clock, left.min(SESSION_MAX));
        let rights = rights_of(&roles, scopes.as_deref());
        Ok(Self { speaker: Speaker::new(issuer, tenant), subject, subject_kind, rights, deadline })
    }
}

/// Roles grant; scopes, where the credential has any, narrow, and can grant reading and writing where no role speaks
/// of records.
fn rights_of(roles: &[String], scopes: Option<&[String]>) -> BTreeSet<Right> {
    let roles = named(roles);
    let Some(scopes) = scopes.map(named) else { return roles };
    let is_data = |right: &Right| matches!(right, Right::Read | Right::Write);
    let roles_speak_of_data = roles.iter().any(is_data);
    scopes.into_iter().filter(|right| roles.contains(right) || (is_data(right) && !roles_speak_of_data)).collect()
}

fn named(names: &[String]) -> BTreeSet<Right> {
    RIGHTS.iter().filter(|(name, _)| names.iter().any(|given| given == name)).map(|&(_, right)| right).collect()
}

/// What the caller is told of a refusal.
pub(crate) fn refuse(reason: Rejection) -> Error {
    tracing::info!(%reason, "a credential was refused");
    metrics::counter!("strongroom_credentials_refused_total").increment(1);
    match reason {
        Rejection::Unavailable => Error::new(ErrorKind::Unavailable, "the credential cannot be verified at present"),
        _ => Error::unverified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    fn claims() -> Claims {
        Claims {
            issuer: "https://issuer".into(),
            tenant: "t1".into(),
            subject: "s".into(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: 1_000_100,
            roles: names(&["strongroom.read"]),
            scopes: None,
        }
    }

    #[test]
    fn roles_grant_and_scopes_only_narrow() {
        let rights = |roles: &[&str], scopes: Option<&[&str]>| {
            let scopes = scopes.map(names);
            rights_of(&names(roles), scopes.as_deref()).into_iter().collect::<Vec<_>>()
        };
        let (read, write, custodian) = ("strongroom.read", "strongroom.write", "strongroom.custodian");
        assert_eq!(rights(&[read, write, "other"], None), [Right::Read, Right::Write]);
        assert_eq!(rights(&[], Some(&[read])), [Right::Read], "a scope grants data access");
        assert_eq!(rights(&[read], Some(&[read, write])), [Right::Read], "and does not widen a role");
        assert_eq!(rights(&[read, write], Some(&[])), [], "no scope, nothing");
        assert_eq!(rights(&[], Some(&[custodian])), [], "no custodian by consent");
        assert_eq!(rights(&[custodian], Some(&[read])), [Right::Read], "a narrowed custodian");
        assert_eq!(rights(&[custodian], Some(&[custodian])), [Right::Custodian]);
        assert_eq!(rights(&["STRONGROOM.READ", " strongroom.read"], None), [], "names are exact");
    }

    #[test]
    fn an_identity_says_what_it_may_do() {
        let clock = ManualClock::new(1_000_000_000);
        let may = |roles: &[&str]| {
            let identity = VerifiedIdentity::admit(Claims { roles: names(roles), ..claims() }, &*clock).unwrap();
            (identity.may_read(), identity.may_write())
        };
        assert_eq!(may(&["strongroom.read"]), (true, false));
        assert_eq!(may(&["strongroom.write"]), (false, true));
        assert_eq!(may(&["strongroom.custodian"]), (false, false));
    }

    #[test]
    fn an_identity_ends_with_its_credential_or_after_an_hour() {
        let clock = ManualClock::new(1_000_000_000);
        let short = VerifiedIdentity::admit(claims(), &*clock).unwrap();
        let long = VerifiedIdentity::admit(
            Claims { subject_kind: SubjectKind::Unknown, expires_at_secs: u64::MAX, ..claims() },
            &*clock,
        )
        .unwrap();
        clock.advance(Duration::from_secs(99));
        assert!(short.check_deadline(&*clock).is_ok());
        clock.advance(Duration::from_secs(1));
        assert_eq!(short.check_deadline(&*clock).unwrap_err().kind(), ErrorKind::Closed);
        clock.advance(Duration::from_secs(3499));
        assert!(long.check_deadline(&*clock).is_ok());
        clock.advance(Duration::from_secs(1));
        assert_eq!(long.check_deadline(&*clock).unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn what_a_careless_verifier_lets_through_is_stopped_here() {
        let clock = ManualClock::new(1_000_000_000);
        let stopped = |change: fn(&mut Claims)| {
            let mut claims = claims();
            change(&mut claims);
            assert_eq!(refuse(VerifiedIdentity::admit(claims, &*clock).unwrap_err()).kind(), ErrorKind::Denied);
        };
        stopped(|claims| claims.tenant.clear());
        stopped(|claims| claims.issuer.clear());
        stopped(|claims| claims.subject.clear());
        stopped(|claims| claims.expires_at_secs = 1_000_000);
        stopped(|claims| claims.expires_at_secs = 0);
    }

    #[test]
    fn issuer_and_tenant_must_match_as_one_pair() {
        let clock = ManualClock::new(1_000_000_000);
        let identity = VerifiedIdentity::admit(claims(), &*clock).unwrap();
        assert!(identity.check_speaks_for(&[Speaker::new("https://issuer", "t1")]).is_ok());
        let near_misses = [
            Speaker::new("https://issuer", "t2"),
            Speaker::new("https://other", "t1"),
            Speaker::new("t1", "https://issuer"),
        ];
        assert_eq!(identity.check_speaks_for(&near_misses).unwrap_err().kind(), ErrorKind::Denied);
        assert!(identity.check_speaks_for(&[]).is_err());
    }
}
