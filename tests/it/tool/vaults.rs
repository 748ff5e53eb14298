//! The tool on stores whose tenants have root keys in a real OpenBao.

use std::os::unix::fs::PermissionsExt;

use strongroom::{LocalRoots, RootSet};

use super::*;
use crate::openbao::{OpenBao, POLICY};

const CREATE_IN_VAULT: &str =
    "tenant create contoso https://issuer.example contoso --any-of contoso-root --any-of second-root";

/// A file of its owner's alone.
fn secret(desktop: &Desktop, name: &str, text: &str) {
    fs::write(desktop.path(name), text).unwrap();
    fs::set_permissions(desktop.path(name), fs::Permissions::from_mode(0o600)).unwrap();
}

/// A vault with two keys, one for each way to log in, in the settings of a new store.
fn with_vaults(bao: &OpenBao) -> Desktop {
    let desktop = Desktop::new();
    bao.make_key("contoso-key", "aes256-gcm96");
    bao.make_key("second-key", "rsa-4096");
    fs::write(desktop.path("ca.pem"), bao.ca_pem()).unwrap();
    let (role_id, secret_id) = bao.approle("strongroom", POLICY, "1h");
    secret(&desktop, "secret-id", &format!("{secret_id}\n"));
    let token = bao.token(POLICY, "1h");
    secret(&desktop, "vault-token", &token);
    let place = format!("address={},ca=ca.pem", bao.address());
    let vaults = [
        format!("{place},root=contoso-root:contoso-key,role-id={role_id},secret-id-file=secret-id,mount=transit"),
        format!("{place},root=second-root:second-key,token-file=vault-token"),
    ];
    let init = "init --force --store store --keys keys --jwks jwks.json --socket custody.sock \
                --issuer https://issuer.example --audience storage";
    let tool = desktop.tool("").args(init.split_whitespace());
    tool.args(vaults.iter().flat_map(|vault| ["--vault", vault])).said().assert_code(0);
    let settings = fs::read_to_string(desktop.path("custodian.json")).unwrap();
    assert!(!settings.contains(&secret_id) && !settings.contains(&token), "no secret is kept: {settings}");
    desktop
}

/// The same as a service has it.
fn roots(desktop: &Desktop, bao: &OpenBao) -> RootSet {
    let local = LocalRoots::open(desktop.path("keys")).unwrap();
    let set = RootSet::new().provider(["contoso-root"], bao.roots("contoso-root", "contoso-key")).unwrap();
    set.provider(["second-root"], bao.roots("second-root", "second-key")).unwrap().local(local).unwrap()
}

#[test]
fn a_closed_store_opens_with_root_keys_in_a_vault() {
    let Some(bao) = OpenBao::start() else { return };
    let desktop = with_vaults(&bao);
    desktop.run(CREATE_IN_VAULT).assert_code(0);
    for root in ["contoso-root", "second-root"] {
        let said = desktop.run(&format!("root check {root} --json")).assert_code(0).json();
        assert_eq!(said["done"]["checked"]["version"], "v1", "{said}");
    }
    assert!(
        desktop
            .run("root list")
            .assert_code(0)
            .out
            .contains("contoso-root: contoso-key in the vault https://127.0.0.1:")
    );
    desktop.run("root new contoso-root").assert_code(2);
    bao.rotate("contoso-key");
    desktop.run_as_contoso("rotate contoso --roots").assert_code(0);
    let keys = desktop.run_as_contoso("status --tenant contoso --json").assert_code(0).json();
    assert_eq!(keys["done"]["keys"]["roots"], json!([["contoso-root", "v2"], ["second-root", "v1"]]));
    desktop.run("doctor --json").assert_code(4);
    bao.soft_delete("contoso-key");
    desktop.run("root check contoso-root").assert_code(2);
    desktop.run_as_contoso("status --tenant contoso").assert_code(0);
    bao.seal();
    desktop.run("root check contoso-root").assert_code(3);
    desktop.run("tenant list").assert_code(0);
}

#[test]
fn a_service_checks_its_roots_in_a_vault_over_the_socket() {
    let Some(bao) = OpenBao::start() else { return };
    let desktop = with_vaults(&bao);
    let room = desktop.open_with(roots(&desktop, &bao));
    let _socket = room.custody_desk().serve_unix(desktop.path("custody.sock")).unwrap();
    // The service has its own way into the vault: that of the settings is not needed.
    fs::remove_file(desktop.path("secret-id")).unwrap();
    desktop.run(CREATE_IN_VAULT).assert_code(0);
    assert_eq!(desktop.run("root check contoso-root --json").assert_code(0).json()["done"]["checked"]["version"], "v1");
    bao.rotate("contoso-key");
    let said = desktop.run("root rotate contoso-root --json").assert_code(0).json();
    assert_eq!(said["done"]["rotated"]["moved"], json!(["contoso"]));
}

#[test]
fn a_vault_in_the_settings_that_is_not_named_in_full_is_refused() {
    let Some(bao) = OpenBao::start() else { return };
    let desktop = with_vaults(&bao);
    let place = format!("address={},ca=ca.pem", bao.address());
    for wrong in [
        "nonsense",
        "address=https://127.0.0.1",
        &format!("{place},root=a:key-a"),
        &format!("{place},token-file=vault-token"),
        &format!("{place},root=a,token-file=vault-token"),
        &format!("{place},root=a:key-a,token-file=vault-token,role-id=r,secret-id-file=secret-id"),
        &format!("{place},root=a:key-a,role-id=r"),
        &format!("{place},root=a:key-a,token-file=vault-token,token=s.secret"),
        &format!("{place},root=a:key-a,root=a:key-b,token-file=vault-token"),
        // The same root as in the settings.
        &format!("{place},root=contoso-root:key-a,token-file=vault-token"),
        &format!("address={},root=a:key-a,token-file=vault-token", bao.address()),
        "address=http://127.0.0.1:1,root=a:key-a,token-file=vault-token",
    ] {
        let said = desktop.run(&format!("tenant list --vault {wrong}")).assert_code(1);
        assert!(!said.err.contains("s.secret"), "{said:?}");
    }
    let plain = "--vault address=http://127.0.0.1:1,root=a:key-a,token-file=vault-token,plain-http-on-loopback=true";
    desktop.run(&format!("tenant list {plain}")).assert_code(0);
    desktop.run(&format!("root check a {plain}")).assert_code(3);
    fs::set_permissions(desktop.path("secret-id"), fs::Permissions::from_mode(0o640)).unwrap();
    let said = desktop.run("tenant list").assert_code(1);
    assert!(said.err.contains("chmod go="), "{said:?}");
}
