//! Tests of `tree`.

use super::*;

#[test]
fn a_process_name_cannot_forge_state_or_parent() {
    let process = parse_stat(7, "7 (a) Z 1 (b) S 42 7 7 0").expect("a valid line");
    assert_eq!((process.id, process.parent), (7, 42));
    assert!(!process.is_zombie);
    assert!(parse_stat(7, "7 (a) Z 42 7").is_some_and(|p| p.is_zombie));
    assert!(parse_stat(7, "7 a").is_none());
}

#[test]
fn a_child_is_found_below_its_parent() {
    let mut child = std::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("cat starts");
    let id = Pid::from_child(&child);

    assert!(descendants(getpid()).contains(&id));
    drop(child.stdin.take());
    assert!(child.wait().is_ok_and(|status| status.success()));
    assert!(!descendants(getpid()).contains(&id));
}
