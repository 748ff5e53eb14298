//! Access that is taken away and given back from the command line.

use super::*;

#[test]
fn a_custodian_revokes_and_restores_on_a_closed_store_and_on_a_running_one() {
    both_ways(|desktop| {
        let run = |arguments: &str| desktop.run_as_contoso(arguments);
        desktop.run(CREATE).assert_code(0);
        assert!(run("access contoso").assert_code(0).out.starts_with("open"));
        let planned = run("revoke contoso --reason stolen --dry-run").assert_code(0);
        assert!(planned.out.contains("-> revoked"), "{planned:?}");
        assert!(run("access contoso").assert_code(0).out.starts_with("open"), "a dry run");
        run("revoke contoso").assert_code(1);
        run("revoke contoso --reason stolen").assert_code(0);
        let access = run("access contoso --json").assert_code(0).json();
        assert_eq!(access["done"]["access"]["fence"], "ordered");
        assert_eq!(access["done"]["access"]["latency"]["reachable"]["secs"], 310);
        let shown = desktop.run("tenant show contoso").assert_code(0);
        assert!(shown.out.contains("its custodians have revoked access"), "{shown:?}");
        desktop.run("restore contoso --reason no").assert_code(2);
        let proposed = run("restore contoso --reason found --propose").assert_code(0);
        assert!(proposed.out.contains("proposal 1"), "{proposed:?}");
        run("restore contoso --reason found").assert_code(0);
        run("restore contoso --reason found").assert_code(2);
        assert!(run("access contoso").assert_code(0).out.starts_with("open"));
        let trail = run("audit show --tenant contoso").assert_code(0).out;
        assert!(trail.contains("revoked: done") && trail.contains("restored: done"), "{trail}");
        let proposed = run("policy recover contoso --any-of service --reason burned").assert_code(0);
        assert!(proposed.out.contains("proposal 2"), "{proposed:?}");
        run("policy apply contoso 2").assert_code(2);
    });
}
