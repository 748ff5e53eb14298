//! Root keys in a vault behind a network, proxies and attackers that do their worst: never a wrong secret, never a refusal
//! that no owner has spoken, never longer than the call may take.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use strongroom::{Call, Clock, RootError, RootKeys, SystemClock, TransitRoots, WrapContext, Wrapped};

use crate::children;
use crate::openbao::{OpenBao, POLICY};
use crate::proxy::{Mode, Proxy};
use crate::transit::{id, unwrap, wrap};

fn roots(proxy: &Proxy, bao: &OpenBao) -> TransitRoots {
    let builder = TransitRoots::builder(proxy.address()).danger_plain_http_on_loopback();
    builder.token(bao.token(POLICY, "1h")).root("customer", "key").build().unwrap()
}

fn unwrap_within(roots: &TransitRoots, wrapped: &Wrapped, patience: Duration) -> Result<[u8; 32], RootError> {
    let context = WrapContext::new([7; 16], id("customer"), 1, Call::new().unwrap().within(patience));
    roots.unwrap(&id("customer"), wrapped, &context).map(|secret| *secret.expose_secret())
}

/// An OpenBao with a key, a way to it, and something wrapped.
fn scene() -> Option<(OpenBao, Proxy, Wrapped)> {
    let bao = OpenBao::start()?;
    bao.make_key("key", "aes256-gcm96");
    let proxy = Proxy::before(&bao);
    let wrapped = wrap(&roots(&proxy, &bao)).unwrap();
    Some((bao, proxy, wrapped))
}

fn answer(status: u16, header: &str, body: &str) -> Mode {
    Mode::Answer(status, header.to_owned(), body.to_owned())
}

#[test]
fn whatever_is_no_answer_of_a_vault_is_an_outage() {
    let Some((bao, proxy, wrapped)) = scene() else { return };
    let elsewhere = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let redirect = format!("Location: http://{}/v1/transit/decrypt/key", elsewhere.local_addr().unwrap());
    let faults = [
        Mode::Stall,
        Mode::Drip,
        Mode::Cut,
        Mode::Endless,
        Mode::EndlessHeaders,
        answer(200, "X: y", "garbage"),
        answer(200, "X: y", ""),
        answer(200, "X: y", r#"{"data":{}}"#),
        answer(200, "X: y", r#"{"data":{"plaintext":"pa\u0057l","type":"aes256-gcm96"}}"#),
        answer(204, "X: y", ""),
        answer(301, &redirect, ""),
        answer(302, &redirect, ""),
        answer(307, &redirect, ""),
        answer(308, &redirect, ""),
        answer(400, "X: y", r#"{"errors":["something new"]}"#),
        answer(403, "Content-Type: text/html", "<html>permission denied</html>"),
        answer(404, "X: y", "not here"),
        answer(407, "X: y", ""),
        answer(500, "X: y", r#"{"errors":["internal error"]}"#),
        answer(502, "X: y", ""),
        answer(503, "X: y", r#"{"errors":["Vault is sealed"]}"#),
    ];
    let clock = SystemClock::new();
    let patience = Duration::from_millis(800);
    for fault in faults {
        for is_warm in [false, true] {
            let roots = roots(&proxy, &bao);
            proxy.set(Mode::Forward);
            if is_warm {
                assert_eq!(unwrap(&roots, &wrapped), Ok(()), "before {fault:?}");
            }
            proxy.set(fault.clone());
            let begun = clock.monotonic_ms();
            assert_eq!(unwrap_within(&roots, &wrapped, patience), Err(RootError::Unreachable), "{fault:?}");
            let took = Duration::from_millis(clock.monotonic_ms() - begun);
            // Room for a machine with other work; what it must not do is wait for an answer that never comes.
            assert!(took < patience + Duration::from_secs(10), "{fault:?} took {took:?}");
            proxy.set(Mode::Forward);
            assert_eq!(unwrap(&roots, &wrapped), Ok(()), "after {fault:?}");
        }
    }
    assert!(elsewhere.accept().is_err(), "no redirect was followed");
}

#[test]
fn a_throttled_call_is_throttled_and_heeds_how_long() {
    let Some((bao, proxy, wrapped)) = scene() else { return };
    let roots = roots(&proxy, &bao);
    assert_eq!(unwrap(&roots, &wrapped), Ok(()));
    proxy.set(answer(429, "X: y", "slow down"));
    proxy.requests();
    assert_eq!(unwrap(&roots, &wrapped), Err(RootError::Throttled));
    assert_eq!(proxy.requests(), 3);
    proxy.set(answer(429, "Retry-After: 3600", ""));
    assert_eq!(unwrap(&roots, &wrapped), Err(RootError::Throttled));
    assert_eq!(proxy.requests(), 1, "there is no time to wait so long");
    proxy.set(Mode::Forward);
    assert_eq!(unwrap(&roots, &wrapped), Err(RootError::Throttled));
    assert_eq!(proxy.requests(), 0, "it was asked for peace");
    let other = self::roots(&proxy, &bao);
    proxy.set(answer(429, "Retry-After: 1", ""));
    std::thread::scope(|scope| {
        let call = scope.spawn(|| unwrap(&other, &wrapped));
        std::thread::sleep(Duration::from_millis(300));
        proxy.set(Mode::Forward);
        assert_eq!(call.join().unwrap(), Ok(()), "it waited, and then it was answered");
    });
}

#[test]
fn a_vault_that_flaps_is_asked_again_and_answers() {
    let Some((bao, proxy, wrapped)) = scene() else { return };
    let roots = roots(&proxy, &bao);
    proxy.set(Mode::Flap);
    for _ in 0..20 {
        assert_eq!(unwrap(&roots, &wrapped), Ok(()));
    }
}

#[test]
fn a_vault_that_is_gone_is_left_alone_after_a_while() {
    let Some((bao, proxy, wrapped)) = scene() else { return };
    let roots = roots(&proxy, &bao);
    assert_eq!(unwrap(&roots, &wrapped), Ok(()));
    proxy.set(Mode::Cut);
    proxy.requests();
    for _ in 0..20 {
        assert_eq!(unwrap(&roots, &wrapped), Err(RootError::Unreachable));
    }
    assert!(proxy.requests() < 15, "the breaker is open");
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let closed = TransitRoots::builder(format!("http://{port}")).danger_plain_http_on_loopback();
    let closed = closed.token("t").root("customer", "key").build().unwrap();
    assert_eq!(unwrap(&closed, &wrapped), Err(RootError::Unreachable), "a port where nobody listens");
    let unknown = TransitRoots::builder("https://no-such-host.invalid").ca_pem(bao.ca_pem());
    let unknown = unknown.token("t").root("customer", "key").build().unwrap();
    assert_eq!(unwrap(&unknown, &wrapped), Err(RootError::Unreachable), "a name that means nothing");
}

#[test]
fn a_secret_of_another_length_or_another_key_is_no_secret_of_ours() {
    let Some((bao, proxy, wrapped)) = scene() else { return };
    let roots = roots(&proxy, &bao);
    for secret in ["", "AAAA", "not base64", &"A".repeat(4000)] {
        proxy.set(Mode::Exchange(secret.to_owned()));
        assert_eq!(unwrap(&roots, &wrapped), Err(RootError::Tampered), "{secret}");
    }
    proxy.set(Mode::Forward);
    assert_eq!(unwrap(&roots, &wrapped), Ok(()), "the control");
}

/// Passes bytes on, so that a vault seems to be at another address.
fn tunnel(from: &str, to: u16) -> u16 {
    let listener = TcpListener::bind((from, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let upstream = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (mut there, mut back) = (connection.try_clone().unwrap(), upstream.try_clone().unwrap());
            let (mut down, mut up) = (connection, upstream);
            std::thread::spawn(move || std::io::copy(&mut there, &mut up));
            std::thread::spawn(move || std::io::copy(&mut back, &mut down));
        }
    });
    port
}

#[test]
fn a_host_that_does_not_prove_its_name_is_not_told_our_token() {
    let Some((bao, _proxy, wrapped)) = scene() else { return };
    let at = |host: &str, ca: Vec<u8>| {
        let address = format!("https://{host}:{}", tunnel(host, bao.port()));
        let builder = TransitRoots::builder(address).ca_pem(ca).token(bao.token(POLICY, "1h"));
        builder.root("customer", "key").build().unwrap()
    };
    assert_eq!(unwrap(&at("127.0.0.1", bao.ca_pem()), &wrapped), Ok(()), "the control: by way of a tunnel");
    let asked = bao.audited("decrypt").len();
    assert_eq!(unwrap(&at("127.0.0.2", bao.ca_pem()), &wrapped), Err(RootError::Unreachable), "another name");
    let Some(other) = OpenBao::start() else { return };
    assert_eq!(unwrap(&at("127.0.0.1", other.ca_pem()), &wrapped), Err(RootError::Unreachable), "another authority");
    assert_eq!(bao.audited("decrypt").len(), asked);
}

/// A child that asks a vault, in an environment that wants it to go another way.
pub fn ask_as_the_environment_wants() {
    let read = |name: &str| std::fs::read_to_string(children::folder().join(name)).unwrap();
    let roots = TransitRoots::builder(read("address")).danger_plain_http_on_loopback().token(read("token"));
    let described = roots.root("customer", "key").build().unwrap().describe(&id("customer"), &Call::new().unwrap());
    children::say(if described.is_ok() { "described" } else { "failed" });
}

#[test]
fn a_proxy_that_the_environment_names_is_not_used() {
    let Some((bao, proxy, _)) = scene() else { return };
    let trap = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    trap.set_nonblocking(true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(Path::new(folder.path()).join(name), text).unwrap();
    write("address", &proxy.address());
    write("token", &bao.token(POLICY, "1h"));
    let mut command = children::command("asker", folder.path(), 0);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        let there = format!("http://{}", trap.local_addr().unwrap());
        command.env(name, &there).env(name.to_lowercase(), there);
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy").stderr(Stdio::null());
    let child = children::Playing::begin(command);
    assert_eq!(child.hear().as_deref(), Some("described"));
    assert!(child.wait().0.success() && trap.accept().is_err());
}
