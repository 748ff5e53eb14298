//! Messages: listed, searched, read, sent, marked, moved, deleted.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bearer::Caller;
use super::etag::{self, IfMatch};
use super::problem::Problem;
use super::{App, encoded};
use crate::letter::{self, Draft, Flaw, Reading};
use crate::model::{Letter, Slot};
use crate::store::{NewLetter, Stored};

/// The longest life that a message may be given: ten years, in seconds.
const EXPIRES_IN_MAX: u64 = 10 * 366 * 86_400;

/// Which page of a folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    after: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    q: String,
}

/// A message that somebody writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writing {
    to: String,
    subject: String,
    text: String,
    expires_in_secs: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Marking {
    seen: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Moving {
    to: String,
}

/// `GET ../messages?q=&after=&limit=`: a page, newest first. `next` is the `after` of the next page; a page of a search may
/// be short, even empty, and have a next one.
pub async fn list(
    caller: Caller,
    Path((_, folder)): Path<(String, String)>,
    query: Query<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let Query(PageQuery { after, limit, q }) = query;
    let after = after.map(|after| slot(&after)).transpose()?;
    if q.chars().count() > 200 {
        return Err(Problem::bad_request("a search has at most 200 characters"));
    }
    let page = caller.mailbox.page(&folder, after, limit.unwrap_or(50).clamp(1, 200), &q).await?;
    let rows: Vec<Value> = page.rows.iter().map(|(slot, letter)| row(*slot, letter)).collect();
    Ok(Json(json!({"messages": rows, "next": page.next.map(|slot| slot.to_string())})))
}

/// `POST ../messages`: stores what somebody writes in a folder, as a draft or a note.
pub async fn post(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((tenant, folder)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let new = write(&app, &caller, &read_json(&body)?)?;
    created(&tenant, &folder, &caller.mailbox.put(vec![(folder.as_str(), new)]).await?)
}

/// `POST /t/{tenant}/send`: into `sent` and, since nothing leaves this service, into the tenant's own `inbox`; into both or
/// neither.
pub async fn send(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(tenant): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let writing: Writing = read_json(&body)?;
    let (sent, received) = (write(&app, &caller, &writing)?, write(&app, &caller, &writing)?);
    created(&tenant, "sent", &caller.mailbox.put(vec![("sent", sent), ("inbox", received)]).await?)
}

/// `GET ../messages/{id}`: one message, decoded. 304 if the client has this version.
pub async fn read(
    caller: Caller,
    Path((_, folder, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let slot = slot(&id)?;
    let (letter, version) = caller.mailbox.letter(&folder, slot).await?;
    if etag::is_known(&headers, version) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag::tag(version))]).into_response());
    }
    let raw = caller.mailbox.content(&letter).await?;
    let Reading { text, attachments, .. } = parse(raw).await?.0;
    let mut answer = row(slot, &letter);
    answer["text"] = text.into();
    answer["attachments"] = json!(attachments);
    Ok(([(header::ETAG, etag::tag(version))], Json(answer)).into_response())
}

/// `GET ../messages/{id}/raw`: the message as it came.
pub async fn raw(
    caller: Caller,
    Path((_, folder, id)): Path<(String, String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let (letter, _) = caller.mailbox.letter(&folder, slot(&id)?).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("message/rfc822")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"message.eml\"")),
    ];
    Ok((headers, caller.mailbox.content(&letter).await?))
}

/// `GET ../messages/{id}/attachments/{number}`: to be saved, and never shown by a browser as what it says that it is.
pub async fn attachment(
    caller: Caller,
    Path((_, folder, id, number)): Path<(String, String, String, usize)>,
) -> Result<impl IntoResponse, Problem> {
    let (letter, _) = caller.mailbox.letter(&folder, slot(&id)?).await?;
    let raw = caller.mailbox.content(&letter).await?;
    let found = off_the_runtime(move || letter::attached(&raw, number)).await?.map_err(flawed)?;
    let (attachment, bytes) =
        found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no such attachment"))?;
    Ok((as_download(&attachment.name), bytes))
}

/// `PATCH ../messages/{id}` with `{"seen": true}`: only with `If-Match`.
pub async fn mark(
    caller: Caller,
    Path((_, folder, id)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Marking { seen } = read_json(&body)?;
    let IfMatch::Version(expected) = IfMatch::of(&headers)? else {
        let detail = "say with If-Match which version is changed";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, detail));
    };
    let version = caller.mailbox.mark(&folder, slot(&id)?, seen, expected).await;
    let version = version.map_err(Problem::of_conditional)?;
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, etag::tag(version))]).into_response())
}

/// `POST ../messages/{id}/move` with `{"to": "archive"}`: it keeps its id. Asking twice moves once.
pub async fn move_to(
    caller: Caller,
    Path((tenant, folder, id)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (Moving { to }, slot) = (read_json(&body)?, slot(&id)?);
    let expected = IfMatch::of(&headers)?.version();
    let version = caller.mailbox.move_to(&folder, slot, &to, expected).await.map_err(Problem::of_conditional)?;
    let mut headers = HeaderMap::from_iter([(header::LOCATION, location(&tenant, &to, slot)?)]);
    headers.extend(version.map(|version| (header::ETAG, etag::tag(version))));
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// `DELETE ../messages/{id}`, of the version in `If-Match` if one is named.
pub async fn delete(
    caller: Caller,
    Path((_, folder, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = IfMatch::of(&headers)?.version();
    caller.mailbox.delete(&folder, slot(&id)?, expected).await.map_err(Problem::of_conditional)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a message off the runtime's threads: its decoding takes as long as the message is.
pub async fn parse(raw: Vec<u8>) -> Result<(Reading, Vec<u8>), Problem> {
    off_the_runtime(move || Reading::of(&raw).map(|reading| (reading, raw))).await?.map_err(flawed)
}

/// Who sends what no parser can read, is told so; nobody else notices.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let failed = |_| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the message cannot be read");
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

fn flawed(flaw: Flaw) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, flaw.as_str())
}

fn write(app: &App, caller: &Caller, writing: &Writing) -> Result<NewLetter, Problem> {
    let Writing { to, subject, text, expires_in_secs } = writing;
    let now_ms = app.store.clock().wall_ms();
    let expires_at_secs = match expires_in_secs {
        Some(0 | EXPIRES_IN_MAX..) => return Err(Problem::bad_request("expires_in_secs is 1 to ten years")),
        within => within.map(|within| now_ms / 1000 + within),
    };
    let from = format!("{}@{}.example", caller.name, caller.mailbox.tenant());
    let id = crate::store::random_name()?;
    let date_secs = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    let draft = Draft { from: &from, to: to.trim(), subject, text, date_secs, id: &id };
    let raw = draft.compose().ok_or_else(|| {
        Problem::bad_request("a message has a recipient like somebody@mail.example, and a subject of one line")
    })?;
    let reading = Reading::of(&raw).map_err(flawed)?;
    Ok(NewLetter { reading, raw, seen: false, expires_at_secs })
}

/// Tells of the first of what was stored, in `folder`.
fn created(tenant: &str, folder: &str, stored: &[Stored]) -> Result<Response, Problem> {
    let nothing = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "nothing was stored");
    let Stored { slot, letter, version } = stored.first().ok_or_else(nothing)?;
    let headers = [(header::LOCATION, location(tenant, folder, *slot)?), (header::ETAG, etag::tag(*version))];
    Ok((StatusCode::CREATED, headers, Json(row(*slot, letter))).into_response())
}

fn row(slot: Slot, letter: &Letter) -> Value {
    let Letter { content: _, from, to, subject, date_secs, size, excerpt, seen, attachments, expires_at_secs } = letter;
    let excerpt: String = excerpt.chars().take(160).collect();
    json!({
        "id": slot.to_string(), "from": from, "to": to, "subject": subject, "date_secs": date_secs, "size": size,
        "excerpt": excerpt, "seen": seen, "attachments": attachments, "expires_at_secs": expires_at_secs,
    })
}

fn slot(id: &str) -> Result<Slot, Problem> {
    // As if there were none: what is no id of this service names no message.
    Slot::parse(id).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no such message"))
}

fn read_json<'b, T: Deserialize<'b>>(body: &'b Bytes) -> Result<T, Problem> {
    // What was wrong is said by its place: the text may be somebody's mail.
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Problem::bad_request(format!("the body is not the JSON that belongs here: {place}"))
    })
}

fn location(tenant: &str, folder: &str, slot: Slot) -> Result<HeaderValue, Problem> {
    let path = format!("/t/{}/folders/{}/messages/{slot}", encoded(tenant), encoded(folder));
    HeaderValue::from_str(&path).map_err(|_| Problem::bad_request("the path is no path"))
}

fn as_download(name: &str) -> [(HeaderName, HeaderValue); 2] {
    let disposition = format!("attachment; filename*=UTF-8''{}", encoded(name));
    let disposition = HeaderValue::from_str(&disposition).unwrap_or_else(|_| HeaderValue::from_static("attachment"));
    let kind = HeaderValue::from_static("application/octet-stream");
    [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition)]
}
