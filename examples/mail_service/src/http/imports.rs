//! Mail from elsewhere, message by message: once each.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::App;
use super::bearer::Caller;
use super::messages;
use super::problem::Problem;
use crate::store::NewLetter;

/// Where it goes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Into {
    folder: String,
    /// Whether it was read where it comes from.
    #[serde(default)]
    seen: bool,
}

/// `GET /t/{tenant}/imports/{digest}`: 204 if a message of this SHA-256 was ever imported, so that nobody sends it again.
pub async fn look(caller: Caller, Path((_, digest)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    let is_there = caller.mailbox.is_imported(read_digest(&digest)?).await?;
    Ok(if is_there { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

/// `PUT /t/{tenant}/imports/{digest}?folder=`: the message of this SHA-256, into a folder. 201 if it is new, 204 if it was
/// imported before, 422 with the reason if it is no message.
pub async fn put(
    State(_): State<Arc<App>>,
    caller: Caller,
    Path((_, named)): Path<(String, String)>,
    Query(Into { folder, seen }): Query<Into>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let named = read_digest(&named)?;
    let raw = body.to_vec();
    if halves(digest(&SHA256, &raw).as_ref()) != Some(named) {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the message is not the one that the path names"));
    }
    let (reading, raw) = messages::parse(raw).await?;
    let new = NewLetter { reading, raw, seen, expires_at_secs: None };
    let is_new = caller.mailbox.import(named, &folder, new).await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

fn read_digest(text: &str) -> Result<(u128, u128), Problem> {
    let half = |half: &str| u128::from_str_radix(half, 16).ok();
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let read = is_hex.then(|| Some((half(&text[..32])?, half(&text[32..])?))).flatten();
    read.ok_or_else(|| Problem::bad_request("a SHA-256 has 64 hexadecimal digits"))
}

fn halves(digest: &[u8]) -> Option<(u128, u128)> {
    let (high, low) = digest.split_first_chunk::<16>()?;
    Some((u128::from_be_bytes(*high), u128::from_be_bytes(low.try_into().ok()?)))
}
