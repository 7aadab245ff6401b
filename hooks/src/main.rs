//! headstart-qemu-hook: libvirt's qemu hook. `headstart-qemu-hook DOMAIN OPERATION SUBOPERATION EXTRA`, the domain's XML on standard
//! input, as <https://libvirt.org/hooks.html> says.
//!
//! It sends headstartd one message and does what it is told. libvirt holds the domain until we end, so all together takes at most
//! [`DEADLINE`], and whatever goes wrong, the domain goes on: exit status 0, a line on standard error, which libvirt logs, and
//! nothing on standard output. Only an answer of headstartd makes it 1. Not here: decisions, XML (but for two marks in its text), and
//! libvirt, neither called (it waits for us) nor linked (25 ms at every start).

mod answer;
mod bus;
mod input;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use answer::Answer;

/// How long libvirt may be kept waiting. headstartd answers within 1.5 s, with what it has by then.
const DEADLINE: Duration = Duration::from_secs(2);

/// What libvirt is about to do, as far as it is our affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concern {
    /// headstartd is asked, and its answer counts.
    Ask,
    /// The same, and it may change the definition.
    AskForXml,
    /// headstartd is told; nobody waits for it.
    Tell,
}

/// The operations that concern us. All others, known or of a libvirt to come, go on at once: some of them kill a running domain if
/// the hook fails.
fn concern(operation: &str, suboperation: &str) -> Option<Concern> {
    match (operation, suboperation) {
        ("prepare", "begin") => Some(Concern::Ask),
        ("migrate" | "restore", "begin") => Some(Concern::AskForXml),
        ("release", "end") => Some(Concern::Tell),
        _ => None,
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let [domain, operation, suboperation, extra, ..] = arguments.as_slice() else {
        complain(
            "it is for libvirt to call: DOMAIN OPERATION SUBOPERATION EXTRA, and the domain's XML on standard input",
        );
        return ExitCode::SUCCESS;
    };
    let Some(concern) = concern(operation, suboperation) else { return ExitCode::SUCCESS };
    let deadline = Instant::now() + DEADLINE;
    let answer = input::read(deadline)
        .and_then(|xml| {
            if input::is_ours(&xml) {
                answer::get(concern, [domain, operation, suboperation, extra], &xml, deadline)
            } else {
                Ok(Answer::go_on())
            }
        })
        .unwrap_or_else(|why| Answer { note: format!("{why}; it goes on without headstart"), ..Answer::go_on() });
    if !answer.note.is_empty() {
        complain(&format!("{domain}: {operation}: {}", answer.note));
    }
    if !answer.allowed {
        return ExitCode::FAILURE;
    }
    if concern == Concern::AskForXml
        && let Err(why) = std::io::stdout().write_all(answer.xml.as_bytes())
    {
        complain(&format!("{domain}: {operation}: the changed definition cannot be handed over: {why}"));
    }
    ExitCode::SUCCESS
}

/// What there is to say when the time is over.
fn late() -> String {
    format!("no answer within {} s", DEADLINE.as_secs())
}

/// A line for libvirt's log.
fn complain(text: &str) {
    // There is nobody to tell that standard error is closed.
    let _ = writeln!(std::io::stderr(), "headstart-qemu-hook: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_goes_on() {
        for (operation, suboperation, want) in [
            ("prepare", "begin", Some(Concern::Ask)),
            ("migrate", "begin", Some(Concern::AskForXml)),
            ("restore", "begin", Some(Concern::AskForXml)),
            ("release", "end", Some(Concern::Tell)),
            ("start", "begin", None),
            ("started", "begin", None),
            ("stopped", "end", None),
            ("reconnect", "begin", None),
            ("attach", "begin", None),
            ("prepare", "end", None),
            ("hotplug", "begin", None),
            ("", "", None),
        ] {
            assert_eq!(concern(operation, suboperation), want, "{operation} {suboperation}");
        }
    }
}
