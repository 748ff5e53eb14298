//! The story, chapter by chapter. Whatever is printed as a fact was looked up or measured a moment before.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom::audit::{Act, Recorded, verify_export};
use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{
    CALL_DEADLINE, Clock, Collection, CollectionDef, Error, ErrorKind, Fence, LocalRoots, Policy, RootId, RootSet,
    Strongroom, SystemClock, TenantCustody, TenantSpec, Trail, TransitRoots, check_root,
};

use crate::line::Line;
use crate::outcome::{Outcome, expect, fail};
use crate::vault::Vault;

const LETTERS: CollectionDef<u64, String> = CollectionDef::cbor("letters");
const ISSUER: &str = "https://id.example";
const SERVICE: &str = "service|custodian|sam";
const USER: &str = "contoso|read,write|uma";
const ANNA: &str = "contoso|custodian|anna";
/// The customer's root keys, and the keys of the vault that they are.
const KEYS: [&str; 2] = ["contoso-a", "contoso-b"];
/// Short, so that the story is: five minutes and an hour unless a policy says otherwise.
const REFRESH: Duration = Duration::from_secs(2);
const HARD_EXPIRY: Duration = Duration::from_secs(6);
const RECOVERY_LIMIT: Duration = Duration::from_secs(600);

/// Takes credentials of the form `tenant|roles|subject` at their word. A service brings `JwtVerifier`.
struct AtTheirWord;

impl Verifier for AtTheirWord {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        let parts: Vec<&str> = credential.split('|').collect();
        let [tenant, roles, subject] = parts[..] else { return Err(Rejection::Malformed) };
        Ok(Claims {
            issuer: ISSUER.into(),
            tenant: tenant.into(),
            subject: subject.into(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 600,
            roles: roles.split(',').map(|role| format!("strongroom.{role}")).collect(),
            scopes: None,
        })
    }
}

pub struct Story<'v> {
    vault: &'v Vault,
    room: Strongroom,
    clock: Arc<SystemClock>,
    /// Correlation ids of calls that were made before there was a trail.
    proofs: BTreeSet<String>,
    /// How much of the tenant's trail has been shown.
    shown: usize,
}

impl<'v> Story<'v> {
    pub fn begin(vault: &'v Vault, line: Option<&Line>, folder: &Path) -> Outcome<Self> {
        println!("\n1. The customer makes two keys in its vault, and lets the service use them.");
        KEYS.iter().try_for_each(|key| vault.make_key(key))?;
        let role = vault.role(&KEYS)?;
        let port = line.map_or(vault.place.1, Line::port);
        let builder = TransitRoots::builder(format!("https://{}:{port}", vault.place.0)).ca_pem(vault.ca_pem.clone());
        let builder = builder.mount(&vault.name).approle(role.id, role.secret_id).approle_mount(&vault.name);
        let customer = KEYS.iter().fold(builder, |builder, key| builder.root(*key, *key)).build()?;
        let mut proofs = BTreeSet::new();
        for key in KEYS {
            let check = check_root(&customer, &RootId::new(key)?)?;
            check.prove()?;
            expect(check.findings.is_empty(), format!("{key}: {:?}", check.findings))?;
            let kind = check.description.algorithm.unwrap_or_default();
            println!(
                "   {key} is {kind} {}: wraps, unwraps, for the right tenant only; nothing to find fault with",
                check.version
            );
            proofs.extend(check.calls.iter().map(ToString::to_string));
        }
        let local = LocalRoots::open_with_root(folder.join("keys"), "service")?;
        local.generate(&RootId::new("recovery")?)?;
        let roots = RootSet::new().provider(KEYS, customer)?.local(local)?;
        let room = Strongroom::builder(folder.join("store"), roots, AtTheirWord);
        let room = room.service_speaker(ISSUER, "service").open()?;
        for there in room.connections() {
            println!("   the store connects to {}:{}, and nowhere else", there.host, there.port);
        }
        Ok(Self { vault, room, clock: SystemClock::new(), proofs, shown: 0 })
    }

    pub fn make_the_tenant(&mut self) -> Outcome {
        println!(
            "\n2. The service makes the customer's tenant: either key opens it, and a recovery root in an outage."
        );
        let policy = Policy::any_of(KEYS.map(|key| [key]))?.expiries(REFRESH, HARD_EXPIRY)?;
        let policy = policy.recovery_root("recovery", RECOVERY_LIMIT)?;
        println!("   policy: {policy}");
        let latency = policy.max_revocation_latency();
        println!("   a refusal ends access within {} s while the vault is in reach,", latency.reachable.as_secs());
        println!("   and within {} s if somebody cuts the store off from it", latency.unreachable.as_secs());
        self.room.custody(SERVICE)?.create_tenant(TenantSpec::new("contoso", ISSUER, "contoso").policy(policy))?;
        let letters = self.letters()?;
        (0..100).try_for_each(|number| letters.put(&number, &format!("letter {number}")).map(drop))?;
        println!("   contoso has {} letters", letters.count()?);
        self.show_the_trail()
    }

    pub fn compare_the_records(&mut self) -> Outcome {
        println!("\n3. The customer sees every use of its keys, in its vault's log and in the store's trail.");
        for _ in 0..2 {
            std::thread::sleep(REFRESH);
            self.read()?;
        }
        let Some(_) = self.vault.logged_uses()? else {
            println!("   SKIPPED: the log of this vault cannot be read here; name it in OPENBAO_AUDIT_LOG");
            return Ok(());
        };
        let (mut logged, mut told) = (BTreeSet::new(), BTreeSet::new());
        self.until("the trail tells of every use", Duration::from_secs(5), |story| {
            logged = story.logged()?;
            told = story.uses()?.into_iter().map(|[call, ..]| call).collect();
            Ok(logged == told)
        })?;
        for [call, root, operation, answer] in self.uses()?.into_iter().rev().take(3) {
            println!("   {call}  {operation:6} {root}: {answer}   in both");
        }
        expect(logged.len() >= 4, "there were four uses at least")?;
        println!(
            "   {} uses are in the vault's log, {} in the trails, and they are the same",
            logged.len(),
            told.len()
        );
        Ok(())
    }

    pub fn rotate(&mut self) -> Outcome {
        println!("\n4. The customer rotates its keys in the vault, and moves the tenant to the new versions.");
        KEYS.iter().try_for_each(|key| self.vault.rotate(key))?;
        self.contoso()?.rotate_roots()?;
        let status = self.contoso()?.keys()?;
        for (root, version) in &status.roots {
            println!("   epoch {}: {} {version}", status.epoch, root.as_str());
        }
        expect(status.roots.iter().filter(|(_, version)| version == "v2").count() == 2, "both are at v2")?;
        KEYS.iter().try_for_each(|key| self.vault.retire_versions_before(key, 2))?;
        std::thread::sleep(REFRESH);
        println!("   the old versions unwrap nothing any more, and {:?} opens", self.read()?);
        self.show_the_trail()
    }

    pub fn refuse_and_allow(&mut self) -> Outcome {
        println!("\n5. The customer takes its keys away: one is disabled, the other denied to the service.");
        let latency = self.contoso()?.access()?.latency;
        let letters = self.letters()?;
        self.vault.soft_delete(KEYS[0])?;
        self.keep_reading(&letters, REFRESH * 3 / 2)?;
        println!("   {} is disabled: letters open, one of two keys is enough", KEYS[0]);
        self.vault.deny(KEYS[1])?;
        let refused_ms = self.clock.monotonic_ms();
        let mut refusal: Option<Error> = None;
        self.until("access ends", latency.reachable, |_| {
            refusal = letters.get(&1).err();
            Ok(refusal.is_some())
        })?;
        let took = self.since(refused_ms);
        let Some(error) = refusal else { return fail("access has not ended") };
        expect(error.kind() == ErrorKind::KeyRevoked, format!("refused as {error}"))?;
        println!(
            "   {} is denied: access ended after {:.1} s, of {} s at most",
            KEYS[1],
            took.as_secs_f64(),
            latency.reachable.as_secs()
        );
        println!("   a user is told: {error}");
        expect(self.contoso()?.access()?.fence == Some(Fence::Observed), "the tenant is fenced")?;
        self.show_the_trail()?;

        self.vault.restore(KEYS[0])?;
        self.vault.allow(KEYS[1])?;
        let allowed_ms = self.clock.monotonic_ms();
        self.until("access comes back", Duration::from_secs(15), |story| Ok(story.read().is_ok()))?;
        let took = self.since(allowed_ms);
        println!(
            "   the customer allows again: access is back after {:.1} s, and nobody had to do anything",
            took.as_secs_f64()
        );
        expect(self.contoso()?.access()?.fence.is_none(), "the fence is lifted")?;
        self.show_the_trail()
    }

    pub fn lose_the_vault(&mut self, line: &Line) -> Outcome {
        println!("\n6. The line to the vault is cut. Nobody has refused anything.");
        let letters = self.letters()?;
        line.cut();
        let cut_ms = self.clock.monotonic_ms();
        self.until_told(&letters, &Act::OUTAGE_BEGUN, HARD_EXPIRY)?;
        println!("   after {:.1} s it is noticed, and the keys in memory serve on", self.since(cut_ms).as_secs_f64());
        self.until_told(&letters, &Act::RECOVERY_ROOT_USED, HARD_EXPIRY + CALL_DEADLINE)?;
        println!(
            "   after {:.1} s they have expired, and the recovery root serves, on the record",
            self.since(cut_ms).as_secs_f64()
        );
        self.show_the_trail()?;
        line.mend();
        let mended_ms = self.clock.monotonic_ms();
        self.until_told(&letters, &Act::OUTAGE_ENDED, Duration::from_secs(20))?;
        println!("   {:.1} s after the line is mended the vault is asked again", self.since(mended_ms).as_secs_f64());
        expect(self.contoso()?.access()?.outage_since_secs.is_none(), "the outage is over")?;
        println!("   no read has failed meanwhile");
        self.show_the_trail()
    }

    pub fn revoke_and_restore(&mut self) -> Outcome {
        println!("\n7. The customer's custodian cannot wait for a vault: access ends with one word of hers.");
        let letters = self.letters()?;
        letters.get(&1)?;
        let begun_ms = self.clock.monotonic_ms();
        self.contoso()?.revoke("the laptop of our administrator is gone")?;
        let took = self.since(begun_ms);
        for answer in [letters.get(&1).err(), self.read().err()] {
            let kind = answer.map(|error| error.kind());
            expect(kind == Some(ErrorKind::KeyRevoked), format!("after a revocation: {kind:?}"))?;
        }
        println!("   {} ms later nothing opens, though the keys in the vault allow it", took.as_millis());
        let by_the_service = self.room.tenant_custody(SERVICE, "contoso").err().map(|error| error.kind());
        expect(by_the_service == Some(ErrorKind::Denied), "the service's custodians are not the customer's")?;
        println!("   the service's custodians cannot lift it");
        self.contoso()?.restore("it was found")?;
        println!("   she restores access, and {:?} opens", self.read()?);
        self.show_the_trail()
    }

    pub fn verify_the_trail(&mut self) -> Outcome {
        println!("\n8. The customer takes the trail along, and verifies it without the store.");
        let (logged, told) = (self.logged()?, self.uses()?.into_iter().map(|[call, ..]| call).collect());
        expect(logged.is_subset(&told), "the vault has logged a use that no trail tells of")?;
        if !logged.is_empty() {
            println!("   all {} uses that the vault has logged by now stand in it", logged.len());
        }
        let (key, mut trail) = (self.contoso()?.audit_key()?, Vec::new());
        self.contoso()?.audit_export(&mut trail)?;
        let verified = verify_export(trail.as_slice(), Some(&key), None)?;
        expect(verified.is_signed, "the trail is signed")?;
        println!("   {} events, {} bytes, signed by the store", verified.size, trail.len());
        let text = String::from_utf8(trail)?;
        let edited = text.replacen("fence observed", "all was well  ", 1);
        expect(edited != text, "the trail tells of the fence")?;
        match verify_export(edited.as_bytes(), Some(&key), None) {
            Ok(_) => fail("an edited trail verifies"),
            Err(error) => {
                println!("   with one word of it changed: {error}");
                Ok(())
            }
        }
    }

    fn contoso(&self) -> strongroom::Result<TenantCustody> {
        self.room.tenant_custody(ANNA, "contoso")
    }

    /// What a user works with who signs in now.
    fn letters(&self) -> strongroom::Result<Collection<u64, String>> {
        self.room.session(USER, "contoso")?.collection(&LETTERS)
    }

    /// What a user reads who signs in now.
    fn read(&self) -> strongroom::Result<String> {
        Ok(self.letters()?.get(&1)?.unwrap_or_default())
    }

    fn since(&self, begun_ms: u64) -> Duration {
        Duration::from_millis(self.clock.monotonic_ms() - begun_ms)
    }

    /// Looks again and again until something holds, for a time that it must not take.
    fn until(&self, what: &str, at_most: Duration, mut holds: impl FnMut(&Self) -> Outcome<bool>) -> Outcome {
        let begun_ms = self.clock.monotonic_ms();
        while !holds(self)? {
            expect(self.since(begun_ms) <= at_most, format!("{what}: not within {at_most:?}"))?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn keep_reading(&self, letters: &Collection<u64, String>, span: Duration) -> Outcome {
        let begun_ms = self.clock.monotonic_ms();
        self.until("time passes", span * 2, |story| {
            letters.get(&1)?;
            Ok(story.since(begun_ms) >= span)
        })
    }

    /// Reads on, which must not fail, until the trail tells of something anew.
    fn until_told(&self, letters: &Collection<u64, String>, act: &Act, at_most: Duration) -> Outcome {
        self.until(act.as_str(), at_most, |story| {
            letters.get(&1)?;
            let news = story.contoso()?.audit_events(story.shown as u64, 1000)?;
            Ok(news.iter().any(|recorded| recorded.event.act == *act))
        })
    }

    /// Shows what has come to the tenant's trail, except the calls of root keys, of which there are many.
    fn show_the_trail(&mut self) -> Outcome {
        loop {
            let page = self.contoso()?.audit_events(self.shown as u64, 1000)?;
            if page.is_empty() {
                return Ok(());
            }
            self.shown += page.len();
            for Recorded { sequence, event, .. } in page.iter().filter(|one| one.event.act != Act::ROOT_KEY_ASKED) {
                let details: Vec<String> = event.details.iter().map(|(key, value)| format!("{key} {value}")).collect();
                println!("   | {sequence:3} {} {} {}", event.act, event.outcome.as_str(), details.join(", "));
            }
        }
    }

    /// The uses of the customer's keys that the vault has logged, without those that proved them.
    fn logged(&self) -> Outcome<BTreeSet<String>> {
        let logged = self.vault.logged_uses()?.unwrap_or_default();
        Ok(logged.into_iter().filter(|call| !self.proofs.contains(call)).collect())
    }

    /// The uses that the trails tell of: correlation id, root key, operation, answer.
    fn uses(&self) -> Outcome<Vec<[String; 4]>> {
        let of_store = self.room.custody(SERVICE)?.audit_events(Trail::Store, 0, 1000)?;
        let of_tenant = self.contoso()?.audit_events(0, 1000)?;
        let asked = of_store.iter().chain(&of_tenant).filter(|recorded| recorded.event.act == Act::ROOT_KEY_ASKED);
        let detail = |recorded: &Recorded, key: &str| {
            let found = recorded.event.details.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        Ok(asked.map(|recorded| ["call", "root", "operation", "answer"].map(|key| detail(recorded, key))).collect())
    }
}
