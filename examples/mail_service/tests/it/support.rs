//! A service in this process: in memory, on a clock of its own, with a toy issuer; and a client.

use std::net::SocketAddr;
use std::time::Duration;

use mail_service::http::Readiness;
use mail_service::identity::{Always, KeysAtHand};
use mail_service::serve::{Running, Setup};
use serde_json::{Value, json};
use strongroom::Clock;
use strongroom::testing::{Token, World};
use tokio::runtime::Runtime;
use ureq::Agent;

pub struct Service {
    pub world: World,
    pub address: String,
    pub admin: String,
    runtime: Runtime,
    running: Option<Running>,
}

impl Service {
    /// With the tenants contoso and fabrikam.
    pub fn begin() -> Self {
        Self::begin_with(Always)
    }

    pub fn begin_with(keys: impl KeysAtHand) -> Self {
        let (world, any) = (World::new(), SocketAddr::from(([127, 0, 0, 1], 0)));
        world.tenant("contoso");
        world.tenant("fabrikam");
        let setup = Setup {
            room: world.room().clone(),
            clock: world.clock().clone(),
            listen: any,
            admin: any,
            custody: None,
            sign_in: None,
            readiness: Readiness::new(keys),
            timeout: Duration::from_secs(30),
            notice: Duration::from_millis(300),
            drain: Duration::from_secs(10),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let running = runtime.block_on(setup.begin()).unwrap();
        let (address, admin) = (format!("http://{}", running.address), format!("http://{}", running.admin));
        Self { world, address, admin, runtime, running: Some(running) }
    }

    /// A user of a tenant, who may read and write.
    pub fn user(&self, tenant: &str) -> Client {
        self.bearer(&self.anna(tenant).sign())
    }

    /// The token of a user of a tenant, to be changed.
    pub fn anna(&self, tenant: &str) -> Token<'_> {
        self.nobody(tenant).role("read").role("write")
    }

    /// The same without a role.
    pub fn nobody(&self, tenant: &str) -> Token<'_> {
        self.world.issuer().token(tenant).subject(&format!("anna-of-{tenant}")).claim("name", "anna")
    }

    pub fn bearer(&self, token: &str) -> Client {
        agent_client(&self.address, token)
    }

    pub fn now_secs(&self) -> u64 {
        self.world.clock().wall_ms() / 1000
    }

    /// Orders it to end, and lets it.
    pub fn end(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.end());
        }
    }

    /// Orders it to end beside what else happens.
    pub fn begin_to_end(&mut self) -> tokio::task::JoinHandle<()> {
        self.runtime.spawn(self.running.take().unwrap().end())
    }

    pub fn wait_for(&self, task: tokio::task::JoinHandle<()>) {
        self.runtime.block_on(task).unwrap();
    }
}

#[derive(Clone)]
pub struct Client {
    agent: Agent,
    pub address: String,
    pub token: String,
}

/// An answer, read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }
}

impl Client {
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_to_ask(method, path, headers, body).unwrap()
    }

    pub fn try_to_ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.address));
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = self.agent.run(request.body(body.to_vec()).unwrap())?;
        let body = answer.body_mut().with_config().limit(64 << 20).read_to_vec()?;
        Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body })
    }

    /// The same bearer, elsewhere.
    pub fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], body.to_string().as_bytes())
    }

    /// Stores a message in a folder. Its path and its tag.
    pub fn store(&self, tenant: &str, folder: &str, subject: &str, text: &str) -> (String, String) {
        let body = json!({"to": "bert@contoso.example", "subject": subject, "text": text});
        let answer = self.post(&format!("/t/{tenant}/folders/{folder}/messages"), &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        (answer.header("location"), answer.header("etag"))
    }

    /// The ids in a folder.
    pub fn ids(&self, tenant: &str, folder: &str) -> Vec<String> {
        let page = self.get(&format!("/t/{tenant}/folders/{folder}/messages?limit=200")).json();
        let rows = page["messages"].as_array().unwrap();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// A client of the service at `address`.
pub fn agent_client(address: &str, token: &str) -> Client {
    Client { agent: agent(), address: address.to_owned(), token: token.to_owned() }
}

fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false).proxy(None).max_redirects(0);
    config.allow_non_standard_methods(true).timeout_global(Some(Duration::from_secs(60))).build().new_agent()
}
