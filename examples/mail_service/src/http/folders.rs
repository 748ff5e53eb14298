//! Folders, and who one is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::App;
use super::bearer::Caller;
use super::problem::Problem;
use crate::model::is_folder_name;

/// `GET /me`: who the token says that one is, and whose mail it opens.
pub async fn me(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    let Caller { mailbox, name, .. } = Caller::at_home(&app, &headers).await?;
    let (ends_at_secs, may_write) = (mailbox.ends_at_secs(), mailbox.may_write());
    Ok(Json(json!({"tenant": mailbox.tenant(), "name": name, "ends_at_secs": ends_at_secs, "may_write": may_write})))
}

/// `GET /t/{tenant}/folders`.
pub async fn list(caller: Caller) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({"folders": caller.mailbox.folders().await?})))
}

/// `PUT /t/{tenant}/folders/{folder}`: makes it if it is not there.
pub async fn make(caller: Caller, Path((_, folder)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    if !is_folder_name(&folder) {
        return Err(Problem::bad_request("a folder's name has 1 to 64 letters, digits, spaces and -_.+"));
    }
    let is_new = caller.mailbox.make_folder(&folder).await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}
