//! What a client of the load asks for, over a connection that it keeps.

use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use mail_service::serve::Failure;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// What one tenant asks for.
pub struct Script {
    host: String,
    tenant: &'static str,
    authorization: String,
    /// Messages that can be read.
    ids: Mutex<Vec<String>>,
}

/// A connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Script {
    pub fn new(address: &str, tenant: &'static str, token: &str) -> Arc<Self> {
        let host = address.trim_start_matches("http://").to_owned();
        Arc::new(Self { host, tenant, authorization: format!("Bearer {token}"), ids: Mutex::default() })
    }

    pub fn tenant(&self) -> &'static str {
        self.tenant
    }

    /// Stores messages, so that there is something to read.
    pub async fn seed(self: &Arc<Self>, count: u64) -> Result<(), Failure> {
        let mut connection = Connection::open(self).await?;
        for number in 0..count {
            let (status, body) = self.post(&mut connection, number).await?;
            let id = body["id"].as_str().ok_or_else(|| format!("the seed was refused with {status}"))?;
            self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(id.to_owned());
        }
        Ok(())
    }

    /// Of ten requests seven read a message, two list the folder, one writes. The status of the answer.
    pub async fn turn(self: &Arc<Self>, connection: &mut Connection, turn: u64) -> Result<u16, Failure> {
        let messages = format!("/t/{}/folders/inbox/messages", self.tenant);
        let (status, _) = match turn % 10 {
            4 => self.post(connection, turn).await?,
            2 | 7 => self.ask(connection, Method::GET, &format!("{messages}?limit=20"), None).await?,
            _ => {
                let id = {
                    let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
                    ids[usize::try_from(turn * 31)? % ids.len()].clone()
                };
                self.ask(connection, Method::GET, &format!("{messages}/{id}"), None).await?
            }
        };
        Ok(status)
    }

    async fn post(self: &Arc<Self>, connection: &mut Connection, number: u64) -> Result<(u16, Value), Failure> {
        let text = "The quick brown fox jumps over the lazy dog. ".repeat(40);
        let to = format!("load@{}.example", self.tenant);
        let body = json!({"to": to, "subject": format!("Message {number}"), "text": text, "expires_in_secs": 3600});
        let path = format!("/t/{}/folders/inbox/messages", self.tenant);
        self.ask(connection, Method::POST, &path, Some(body)).await
    }

    async fn ask(
        self: &Arc<Self>,
        connection: &mut Connection,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), Failure> {
        let body = Full::new(Bytes::from(body.map(|body| body.to_string()).unwrap_or_default()));
        let request = Request::builder().method(method).uri(path).header("host", &self.host);
        let request = request.header("authorization", &self.authorization).body(body)?;
        if connection.sender.ready().await.is_err() {
            *connection = Connection::open(self).await?;
        }
        let answer = connection.sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

impl Connection {
    pub async fn open(script: &Script) -> Result<Self, Failure> {
        let stream = TcpStream::connect(&script.host).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }
}
