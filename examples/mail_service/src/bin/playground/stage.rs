//! The stage: OpenBao, the service as a process of its own, two tenants with two users each.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use indicatif::ProgressBar;
use mail_service::import::{self, Client, Mbox, Report};
use mail_service::serve::Failure;
use serde_json::{Value, json};
use strongroom::TenantSpec;
use strongroom::desk::{self, Act, Request};
use tempfile::TempDir;

use crate::sample;
use crate::vault::Vault;

/// The tenants that there are.
pub const TENANTS: [&str; 2] = ["contoso", "fabrikam"];
const USERS: [(&str, &str); 4] = [("anna", "contoso"), ("bert", "contoso"), ("carl", "fabrikam"), ("dora", "fabrikam")];
const CUSTODIAN: &str = "sam";
const SERVICE_TENANT: &str = "mail-service";

/// Somebody who may sign in.
pub struct User {
    pub name: &'static str,
    pub password: String,
    pub tenant: &'static str,
}

/// Everything that was started. It ends with this, the service in order if [`Stage::end`] is called.
pub struct Stage {
    service: Child,
    vault: Vault,
    folder: TempDir,
    /// `http://127.0.0.1:port`.
    pub address: String,
    /// Where health and metrics are asked for.
    pub admin: String,
    pub users: Vec<User>,
}

impl Stage {
    /// Starts everything; `program` is the service, whose page is at `port`. `None` if there is no OpenBao to start.
    pub fn set(program: &Path, port: u16) -> Result<Option<Self>, Failure> {
        let Some(mut vault) = Vault::start()? else { return Ok(None) };
        let records = ["strongroom.read", "strongroom.write"];
        let mut users = Vec::new();
        for (name, tenant) in USERS {
            let password = password()?;
            vault.add_user(name, &password, &format!("{tenant}-tid"), &records)?;
            users.push(User { name, password, tenant });
        }
        let custodian = password()?;
        vault.add_user(CUSTODIAN, &custodian, SERVICE_TENANT, &["strongroom.custodian"])?;

        let folder = tempfile::tempdir()?;
        let service = start(program, &vault, folder.path(), port)?;
        let mut stage = Self { service, vault, folder, address: String::new(), admin: String::new(), users };
        stage.await_address()?;
        let token = stage.vault.token(CUSTODIAN, &custodian)?;
        for tenant in TENANTS {
            let spec = TenantSpec::new(tenant, stage.vault.issuer(), format!("{tenant}-tid"));
            desk::ask(stage.custody(), &Request::new(token.as_str(), Act::CreateTenant(spec))?, |_| {})?;
        }
        Ok(Some(stage))
    }

    /// The service says in its log where it listens.
    fn await_address(&mut self) -> Result<(), Failure> {
        for _ in 0..600 {
            let log = fs::read_to_string(self.log())?;
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let fields = lines.map(|line| line["fields"].clone()).find(|fields| fields["message"] == "serving");
            if let Some(fields) = fields {
                let address = |name: &str| fields[name].as_str().map(|at| format!("http://{at}")).ok_or("no address");
                (self.address, self.admin) = (address("address")?, address("admin")?);
                return Ok(());
            }
            if let Some(status) = self.service.try_wait()? {
                return Err(format!("the service has ended ({status}): {log}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err("the service does not begin".into())
    }

    /// Where it is and who may sign in, for programs.
    pub fn as_json(&self) -> Value {
        let user = |user: &User| json!({"tenant": user.tenant, "name": user.name, "password": user.password});
        let users: Vec<Value> = self.users.iter().map(user).collect();
        json!({"address": self.address, "admin": self.admin, "users": users})
    }

    /// What the service has logged.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The socket of the custodians.
    pub fn custody(&self) -> PathBuf {
        self.folder.path().join("custody.sock")
    }

    /// A token of the first user of a tenant.
    pub fn token(&self, tenant: &str) -> Result<String, Failure> {
        let user = self.users.iter().find(|user| user.tenant == tenant).ok_or("no such tenant")?;
        self.vault.token(user.name, &user.password)
    }

    /// Imports the sample mail for a tenant, as `mail_service import` does.
    pub fn import_sample(&mut self, tenant: &str) -> Result<Report, Failure> {
        let client = Client::new(&self.address, None, tenant, &self.token(tenant)?)?;
        let text = sample::mbox(tenant);
        let length = text.len() as u64;
        let mbox = Mbox::new(std::io::Cursor::new(text), "sample".to_owned(), length, "inbox");
        import::import(&client, mbox, &ProgressBar::hidden())
    }

    /// Orders the service to end, and waits until it has.
    pub fn end_service(&mut self) -> Result<(), Failure> {
        let pid = rustix::process::Pid::from_child(&self.service);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.service.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the service has ended with {status}").into()) }
    }

    /// Begins the service again, on the same store.
    #[cfg(test)]
    pub fn begin_again(&mut self, program: &Path) -> Result<(), Failure> {
        self.service = start(program, &self.vault, self.folder.path(), 0)?;
        self.await_address()
    }

    /// Ends the service in order, then the rest.
    pub fn end(mut self) -> Result<(), Failure> {
        self.end_service()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.service.kill());
        drop(self.service.wait());
    }
}

/// The service's own program, beside this one.
pub fn beside() -> Result<PathBuf, Failure> {
    Ok(std::env::current_exe()?.with_file_name("mail_service"))
}

fn start(program: &Path, vault: &Vault, folder: &Path, port: u16) -> Result<Child, Failure> {
    let log = File::create(folder.join("log"))?;
    let child = Command::new(program)
        .arg("serve")
        .args(["--listen", &format!("127.0.0.1:{port}"), "--admin", "127.0.0.1:0"])
        .args(["--issuer", &vault.issuer(), "--sign-in", &vault.address, "--service-tenant", SERVICE_TENANT])
        .arg("--ca")
        .arg(vault.ca())
        .arg("--data")
        .arg(folder.join("store"))
        .arg("--keys")
        .arg(folder.join("keys"))
        .arg("--custody")
        .arg(folder.join("custody.sock"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for this program, which then ends the service in order.
        .process_group(0)
        .spawn();
    child.map_err(|error| format!("{} does not start: {error}", program.display()).into())
}

/// 16 letters and digits that are hard to take for each other.
fn password() -> Result<String, Failure> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "no randomness")?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}
