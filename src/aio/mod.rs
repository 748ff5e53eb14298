//! The same store for services on Tokio: the same doors, names and errors, as `async` methods.
//!
//! - **No runtime thread is blocked.** A read whose keys, cell and block are in memory, and whose record is short, is
//!   answered where it is asked, which takes some microseconds and none of another thread; everything else is done on threads
//!   that may block. Values are encoded and decoded there too.
//! - **Futures can be dropped at any time.** What has not begun never happens. What has begun goes on to its end, so that a
//!   write is whole or absent, and holds its permit until then. A scan that is dropped lets go of its snapshot.
//! - **Tenants take turns.** (More than [`Limits::waiting`] of one are told that they are throttled.) So many operations of a tenant are under way at once ([`Limits::per_tenant`]), and the others wait
//!   in order; one that has to ask a key service or to open a cell waits where it keeps no other tenant waiting.
//! - **Scans are streams with back-pressure.** A page is read when the one before has been taken.
//!
//! Values are passed by value, since they travel; keys as ever.
//!
//! ```
//! use strongroom::{CollectionDef, aio};
//! # use strongroom::{LocalRoots, Strongroom, TenantSpec, identity::{Claims, Rejection, SubjectKind, Verifier}};
//!
//! const MAIL: CollectionDef<(&str, u64), String> = CollectionDef::cbor("mail");
//!
//! # struct Tokens;
//! # impl Verifier for Tokens {
//! #     fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
//! #         let roles = ["read", "write", "custodian"].map(|role| format!("strongroom.{role}")).to_vec();
//! #         Ok(Claims { issuer: "https://id.example".into(), tenant: credential.into(), subject: "s".into(),
//! #             subject_kind: SubjectKind::Unknown,
//! #             expires_at_secs: now_secs + 60, roles, scopes: None })
//! #     }
//! # }
//! # #[tokio::main]
//! # async fn main() -> strongroom::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service")?;
//! # let room = Strongroom::in_memory(roots, Tokens).service_speaker("https://id.example", "service").open()?;
//! # room.custody("service")?.create_tenant(TenantSpec::new("contoso", "https://id.example", "contoso-tid"))?;
//! # let token = "contoso-tid";
//! // Once: `room` is the store as its builder opened it.
//! let room = aio::Strongroom::new(room, aio::Limits::default());
//!
//! // Once per request.
//! let contoso = room.session(token, "contoso").await?;
//! let mail = contoso.collection(&MAIL).await?;
//! mail.put(&("inbox", 1), "hello".to_owned()).await?;
//! contoso.batch().put(&MAIL, &("sent", 1), "reply".to_owned()).delete(&MAIL, &("inbox", 1)).commit().await?;
//!
//! let mut rows = mail.prefix(("sent",)).await?;
//! while let Some(row) = rows.next().await {
//!     let ((folder, number), text) = row?;
//!     println!("{folder} {number}: {text}");
//! }
//! # assert_eq!(mail.get(&("sent", 1)).await?.as_deref(), Some("reply"));
//! # room.close().await;
//! # Ok(())
//! # }
//! ```

mod batch;
mod collection;
mod lanes;
mod limits;
mod room;
mod scan;
mod session;
mod turns;

pub use batch::WriteBatch;
pub use collection::Collection;
pub use limits::Limits;
pub use room::Strongroom;
pub use scan::Scan;
pub use session::Session;
