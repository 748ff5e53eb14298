//! The service as a process, on a disk, beside a real OpenBao.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::sample;
use crate::stage::{Stage, TENANTS};
use crate::support::{Client, agent_client};

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mail_service"))
}

fn stage() -> Option<Stage> {
    let stage = Stage::set(program(), 0).expect("a service that begins");
    if stage.is_none() {
        let reason = "SKIPPED: tests with a real identity provider, because there is no OpenBao: run .ci/openbao";
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        // Past the harness, which shows only what failing tests say.
        drop(writeln!(std::io::stderr().lock(), "{reason}"));
    }
    stage
}

#[test]
fn people_sign_in_at_the_identity_provider_and_reach_their_own_tenant() {
    let Some(stage) = stage() else { return };
    let nobody = agent_client(&stage.address, "");
    assert_eq!(nobody.get("/readyz").status, 200, "the provider's keys are there");
    for user in &stage.users {
        let sign_in = |password: &str| nobody.post("/signin", &json!({"name": user.name, "password": password}));
        assert_eq!(sign_in("wrong").status, 401);
        let token = sign_in(&user.password).json()["token"].as_str().unwrap().to_owned();
        let client = agent_client(&stage.address, &token);
        let me = client.get("/me").json();
        assert_eq!((me["tenant"].as_str(), me["name"].as_str()), (Some(user.tenant), Some(user.name)));
        for tenant in TENANTS {
            let expected = if tenant == user.tenant { 200 } else { 403 };
            assert_eq!(client.get(&format!("/t/{tenant}/folders")).status, expected);
        }
    }
    for name in ["../../sys/seal", "", "anna/x", "nobody"] {
        assert_eq!(nobody.post("/signin", &json!({"name": name, "password": "x"})).status, 401, "{name}");
    }
    stage.end().expect("it ends in order");
}

#[test]
fn the_tool_imports_and_says_what_was_refused() {
    let Some(stage) = stage() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mbox = folder.path().join("sample.mbox");
    std::fs::write(&mbox, sample::mbox("contoso")).unwrap();
    let import = |token: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mail_service"));
        command.args(["import", "--tenant", "contoso", "--json", "--url", &stage.address, "--mbox"]).arg(&mbox);
        command.env("MAIL_TOKEN", token).stdin(Stdio::null()).output().unwrap()
    };
    let token = stage.token("contoso").unwrap();
    for (imported, present) in [(5, 0), (0, 5)] {
        let run = import(&token);
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        assert_eq!(
            (run.status.code(), &report["imported"], &report["present"]),
            (Some(2), &json!(imported), &json!(present))
        );
        assert_eq!(report["refused"][0]["reason"], "it does not begin with a header field");
        assert!(report["refused"][0]["line"].as_u64() > Some(1));
    }
    let run = import(&stage.token("fabrikam").unwrap());
    assert_eq!(run.status.code(), Some(1));
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(told.contains("does not entitle"), "{told}");
    stage.end().expect("it ends in order");
}

#[test]
fn an_end_in_order_loses_nothing_that_was_acknowledged() {
    let Some(mut stage) = stage() else { return };
    let client = agent_client(&stage.address, &stage.token("contoso").unwrap());
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let client = client.clone();
            thread::spawn(move || write_until_refused(&client, writer))
        })
        .collect();
    thread::sleep(Duration::from_millis(700));
    stage.end_service().expect("it ends in order");
    let acknowledged: Vec<String> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());

    stage.begin_again(program()).expect("it begins again");
    let client = agent_client(&stage.address, &stage.token("contoso").unwrap());
    for path in &acknowledged {
        assert_eq!(client.get(path).status, 200, "{path} was acknowledged");
    }
    stage.end().expect("it ends in order");
}

/// Writes until the service is gone. What it has acknowledged, and no answer but that in between.
fn write_until_refused(client: &Client, writer: u32) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0..100_000 {
        let body =
            json!({"to": "b@contoso.example", "subject": format!("{writer} {number}"), "text": "x".repeat(2000)});
        let path = "/t/contoso/folders/inbox/messages";
        match client.try_to_ask("POST", path, &[], body.to_string().as_bytes()) {
            Ok(answer) => {
                assert_eq!(answer.status, 201, "{}", answer.text());
                acknowledged.push(answer.header("location"));
            }
            Err(_) => break,
        }
    }
    acknowledged
}
