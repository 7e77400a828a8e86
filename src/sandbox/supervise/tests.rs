//! Requests, answers, timeouts and limits of child processes.

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn ask(script: &str, timeout: Duration, input: &[&[u8]]) -> ChildAnswer {
    let request = ChildRequest {
        input,
        timeout,
        answer_bytes_max: 4,
    };

    exchange(&mut shell(script), &request).expect("sh starts")
}

#[test]
fn an_answer_is_read_up_to_its_limit() {
    let answer = ask("read line; echo \"$line\"", LONG, &[b"abcdefgh\n"]);
    assert_eq!(answer.output, b"abcd");
}

#[test]
fn a_child_that_takes_too_long_is_killed_with_its_input_unread() {
    let megabyte = vec![0; 1 << 20];
    let answer = ask(
        "exec cat /dev/zero >/dev/null",
        Duration::ZERO,
        &[&megabyte],
    );

    assert_eq!(answer.status, None);
}

#[test]
fn an_exit_status_is_kept_beside_unread_input() {
    let megabyte = vec![0; 1 << 20];
    let answer = ask("exit 7", LONG, &[&megabyte]);
    assert_eq!(answer.status.and_then(|status| status.code()), Some(7));
}

#[test]
fn a_cancelled_wait_returns_before_the_timeout() {
    let mut command = shell("exec cat");
    let mut child = Supervised::spawn(command.stdin(Stdio::piped())).expect("sh starts");
    assert_eq!(child.wait(LONG, || true).expect("a running child"), None);
}

#[test]
fn a_request_is_one_line_and_bounded() {
    let line = request_line(&[1, 2]).expect("numbers are JSON");
    let read = |bytes_max| read_request::<Vec<u8>>(&mut line.as_slice(), bytes_max).ok();
    assert_eq!(read(100), Some(vec![1, 2]));
    assert_eq!(read(3), None);
}
