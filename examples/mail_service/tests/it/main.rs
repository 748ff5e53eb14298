//! The service as its clients see it: over real HTTP, with tokens of a toy issuer and of a real OpenBao.

mod api;
mod forged;
mod imports;
mod process;
mod races;
mod secrets;
mod support;

#[path = "../../src/bin/playground/sample.rs"]
mod sample;
#[expect(dead_code, reason = "shared with the playground")]
#[path = "../../src/bin/playground/stage.rs"]
mod stage;
#[path = "../../src/bin/playground/vault.rs"]
mod vault;
